//! From a spanning tree to clusters: which groups split off while the distance falls, how long each
//! lasts, and which last longest.
//!
//! A group is born where its parent splits into two of at least `min_size` rows each. As distance
//! falls further it loses rows one by one, until it splits itself. Its stability is the sum, over
//! its rows, of how long each stays, in `λ = 1 / distance`. A group is a cluster if it is more
//! stable than the clusters inside it together, and inside no other cluster. All rows together are
//! no cluster.

use super::spanning_tree::Edge;
use crate::forest::Forest;

/// Bytes of state a row.
pub(super) const ROW_BYTES: usize = size_of::<Merge>() + 3 * size_of::<u32>();

/// Distances below this count as this, so that `λ` is finite. Equal rows are that near.
const DISTANCE_MIN: f64 = 1e-6;

/// Two nodes became one. Nodes below the number of rows are rows; node `rows + i` is merge `i`.
struct Merge {
    left: u32,
    right: u32,
    /// `1 / distance`.
    lambda: f64,
    /// Rows below it.
    rows: u32,
}

/// Rows that stay together for a range of distances.
struct Group {
    /// The group that it split off; its own number for the first.
    parent: usize,
    /// `λ` where it split off.
    birth: f64,
    stability: f64,
}

/// The tree of merges: the shortest edges merge first.
struct Tree {
    rows: usize,
    merges: Vec<Merge>,
}

/// Each row's cluster, as the number of its group, from edges by ascending distance.
pub(super) fn clusters(rows: usize, edges: &[Edge], min_size: usize) -> Vec<Option<u32>> {
    let tree = Tree::new(rows, edges);
    let (groups, group_of) = tree.groups(min_size);
    let clusters = most_stable(&groups);
    group_of.iter().map(|group| clusters[*group as usize]).collect()
}

impl Tree {
    fn new(rows: usize, edges: &[Edge]) -> Self {
        let mut tree = Self { rows, merges: Vec::with_capacity(edges.len()) };
        let forest = Forest::new(rows);
        // The node that a group of the forest is, by the group's root.
        let mut node_of: Vec<u32> = (0..rows as u32).collect();
        for edge in edges {
            let (a, b) = (forest.root(edge.a), forest.root(edge.b));
            let (left, right) = (node_of[a as usize], node_of[b as usize]);
            forest.unite(a, b);
            node_of[a.min(b) as usize] = (rows + tree.merges.len()) as u32;
            let below = tree.rows_below(left) + tree.rows_below(right);
            let lambda = 1.0 / f64::from(edge.distance).max(DISTANCE_MIN);
            tree.merges.push(Merge { left, right, lambda, rows: below });
        }
        tree
    }

    /// The merge that a node is; `None` for a row.
    fn merge(&self, node: u32) -> Option<&Merge> {
        (node as usize).checked_sub(self.rows).map(|merge| &self.merges[merge])
    }

    fn rows_below(&self, node: u32) -> u32 {
        self.merge(node).map_or(1, |merge| merge.rows)
    }

    /// All groups, parents before their children, and the last group that each row was in.
    fn groups(&self, min_size: usize) -> (Vec<Group>, Vec<u32>) {
        let mut groups = vec![Group { parent: 0, birth: 0.0, stability: 0.0 }];
        let mut group_of = vec![0; self.rows];
        let Some(last) = self.merges.len().checked_sub(1) else { return (groups, group_of) };
        let mut nodes = vec![((self.rows + last) as u32, 0)];
        while let Some((node, group)) = nodes.pop() {
            let Some(merge) = self.merge(node) else { continue };
            let sides = [merge.left, merge.right];
            let lasts = |side: u32| self.rows_below(side) as usize >= min_size;
            let splits = sides.into_iter().all(lasts);
            for side in sides {
                let rows = f64::from(self.rows_below(side));
                if splits {
                    groups[group].stability += rows * (merge.lambda - groups[group].birth);
                    groups.push(Group { parent: group, birth: merge.lambda, stability: 0.0 });
                    nodes.push((side, groups.len() - 1));
                } else if lasts(side) {
                    nodes.push((side, group));
                } else {
                    groups[group].stability += rows * (merge.lambda - groups[group].birth);
                    self.for_rows_below(side, |row| group_of[row as usize] = group as u32);
                }
            }
        }
        (groups, group_of)
    }

    fn for_rows_below(&self, node: u32, mut each: impl FnMut(u32)) {
        let mut nodes = vec![node];
        while let Some(node) = nodes.pop() {
            match self.merge(node) {
                Some(merge) => nodes.extend([merge.left, merge.right]),
                None => each(node),
            }
        }
    }
}

/// For each group the cluster that it is or is inside of.
fn most_stable(groups: &[Group]) -> Vec<Option<u32>> {
    // The stability of the best clusters inside each group.
    let mut inside = vec![0.0; groups.len()];
    let mut is_stable = vec![false; groups.len()];
    for (number, group) in groups.iter().enumerate().skip(1).rev() {
        is_stable[number] = group.stability >= inside[number];
        inside[group.parent] += group.stability.max(inside[number]);
    }
    let mut clusters: Vec<Option<u32>> = vec![None; groups.len()];
    for (number, group) in groups.iter().enumerate().skip(1) {
        let own = is_stable[number].then_some(number as u32);
        clusters[number] = clusters[group.parent].or(own);
    }
    clusters
}
