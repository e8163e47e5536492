//! Where rows come from and go to.
//!
//! - *Absent:* what rows mean. A connector turns bytes into rows and rows into bytes.
