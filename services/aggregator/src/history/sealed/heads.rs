//! Walks over the names of the series in a sealed file, a page of the index at a time. It reads no
//! blocks.

use std::sync::Arc;

use super::index::Page;
use super::{Lost, Segment, SeriesHead};

/// The names of all series of a file, in ascending order of id, and what is lost of them.
#[derive(Debug)]
pub(in crate::history) struct Heads<'a> {
    segment: &'a Segment,
    /// The number of the next page.
    next_page: usize,
    page: Option<Arc<Page>>,
    /// The next record of this page.
    next_record: usize,
}

impl<'a> Heads<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        Self { segment, next_page: 0, page: None, next_record: 0 }
    }
}

impl Iterator for Heads<'_> {
    /// A series, or a page that is damaged: the names of the series in it are lost.
    type Item = Result<SeriesHead, Lost>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(page) = &self.page {
                while let Some(record) = page.records.get(self.next_record) {
                    self.next_record += 1;
                    if !record.is_part {
                        return Some(Ok(page.head(record)));
                    }
                }
            }
            let place = self.segment.places().get(self.next_page)?;
            self.page = self.segment.page(self.next_page);
            self.next_page += 1;
            self.next_record = 0;
            if self.page.is_none() {
                return Some(Err(Lost::page(place)));
            }
        }
    }
}
