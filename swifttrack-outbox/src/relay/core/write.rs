//! What the writer does, one thing at a time, and what became of it.

use std::sync::Arc;

use super::{Action, Core, DELETE_GAP, Guard, Moment, RETRY_MIN, Writing};

impl<P: Clone> Core<P> {
    pub(super) fn has_writes(&self) -> bool {
        !self.undeleted.is_empty() || !self.burials.is_empty() || !self.marked.is_empty()
    }

    /// Deletes are commits, and nobody waits for them: small ones are put together.
    pub(super) fn delete_due(&self) -> Moment {
        if self.stops() || self.undeleted.len() >= self.set.batch_rows {
            Moment::ZERO
        } else {
            self.delete_at
        }
    }

    pub(super) fn is_being_written(&self, seq: i64) -> bool {
        match &self.writing {
            Some(Writing::Delete(gone)) => gone.iter().any(|gone| gone.seq == seq),
            Some(Writing::Bury(burial)) => burial.seq == seq,
            Some(Writing::Marked { .. }) | None => false,
        }
    }

    pub(super) fn drive_writes(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        if self.writing.is_some() || now < self.write_at {
            return;
        }
        if let Some((group, rows)) = self.marked.pop_front() {
            todo.push(Action::DeleteMarked { rows: rows.clone() });
            self.writing = Some(Writing::Marked {
                generation: self.generation,
                group,
                rows,
            });
        } else if let Some(burial) = self.burials.pop_front() {
            todo.push(Action::Bury {
                life: self.life,
                burial: burial.clone(),
            });
            self.writing = Some(Writing::Bury(burial));
        } else if !self.undeleted.is_empty() && now >= self.delete_due() {
            self.delete_at = now + DELETE_GAP;
            let gone = std::mem::take(&mut self.undeleted);
            let mut seqs = Vec::with_capacity(gone.len());
            let mut dead = Vec::new();
            for gone in &gone {
                if gone.releases.is_some() {
                    &mut dead
                } else {
                    &mut seqs
                }
                .push(gone.seq);
            }
            self.writing = Some(Writing::Delete(gone));
            todo.push(Action::Delete { seqs, dead });
        }
    }

    pub(super) fn deleted(&mut self) {
        match self.writing.take() {
            Some(Writing::Delete(gone)) => {
                let mut released = false;
                for gone in gone {
                    if self.guarded(Guard::DeleteAfterAck) {
                        self.unbusy(gone.slot);
                    }
                    self.note_settled(gone.seq);
                    if let Some((topic, key)) = gone.releases {
                        if self.keeping {
                            self.replayed.insert(gone.seq);
                        }
                        released |= self.unblock(&topic, &key);
                    }
                }
                if released {
                    self.scan_again();
                }
            }
            Some(Writing::Marked {
                generation, group, ..
            }) => {
                // Of a producer that was closed since: the group is fenced again.
                if generation != self.generation {
                    return;
                }
                self.group_is_clean(group);
            }
            other => self.writing = other,
        }
    }

    fn unblock(&mut self, topic: &Arc<str>, key: &str) -> bool {
        let Some(keys) = self.blocked.get_mut(topic) else {
            return false;
        };
        let was = keys.remove(key).is_some();
        if was {
            self.blocked_count -= 1;
        }
        was
    }

    pub(super) fn buried(&mut self, mine: bool, now: Moment) {
        let Some(Writing::Bury(burial)) = self.writing.take() else {
            return;
        };
        self.unbusy(burial.slot);
        self.note_settled(burial.seq);
        let (topic, key) = &burial.key;
        if !mine {
            tracing::warn!(seq = burial.seq, "a refused row's slot changed hands");
            self.unblock(topic, key);
        } else if let Some(since) = self
            .blocked
            .get_mut(topic)
            .and_then(|keys| keys.get_mut(key))
        {
            *since = now;
        }
    }

    pub(super) fn write_failed(&mut self, now: Moment) {
        self.write_at = now + RETRY_MIN;
        match self.writing.take() {
            Some(Writing::Delete(mut gone)) => {
                gone.append(&mut self.undeleted);
                self.undeleted = gone;
            }
            Some(Writing::Bury(burial)) => self.burials.push_front(burial),
            Some(Writing::Marked {
                generation,
                group,
                rows,
            }) if generation == self.generation => self.marked.push_front((group, rows)),
            Some(Writing::Marked { .. }) | None => {}
        }
    }
}
