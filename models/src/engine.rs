//! stub
use crate::{CancelToken, ModelError, ModelSpec, Precision, Result};
use crate::layout::Layout;
use crate::tokenize::{Sequence, TextTokenizer};
pub(crate) struct Engine{facts:Facts}
pub(crate) enum Output<'a>{Tokens{values:&'a [f32],width:usize},Text(&'a [f32])}
#[derive(Clone)]
pub(crate) struct Facts{pub(crate) width:usize,pub(crate) pooled:bool,pub(crate) labels:usize,pub(crate) architecture:String,pub(crate) precision:Precision,pub(crate) parameters:u64}
impl Engine{
 pub(crate) fn length_limit(_:&Layout)->Result<Option<usize>>{Ok(None)}
 pub(crate) fn load(_:&Layout,_:&ModelSpec,_:&TextTokenizer,_:&str)->Result<Self>{Err(ModelError::Bug("transformers are not there yet".into()))}
 pub(crate) fn facts(&self)->&Facts{&self.facts}
 pub(crate) fn run(&self,_:&[Sequence],_:usize,_:&CancelToken,_:impl Fn(&Sequence,Output<'_>)->Vec<f32>+Sync)->Result<Vec<f32>>{Err(ModelError::Bug("transformers are not there yet".into()))}
}
