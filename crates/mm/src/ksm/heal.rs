//! What becomes of a merged page whose memory fails.

use super::tree::Class;
use crate::rmap::Mapper;
use crate::{Errno, FrameState, Machine, Memory, Pfn, UserFrame};

/// How many twins of a frame are tried.
const TWINS: usize = 4;

/// What [`Memory::heal`] came to.
#[derive(Default)]
pub(crate) struct Healing {
    /// The page has a new frame, with the same contents, wherever it is mapped.
    pub(crate) done: bool,
    /// Twins that could not be read either. They must be isolated when no lock is held.
    pub(crate) unreadable: [Option<Pfn>; TWINS],
}

impl<M: Machine> Memory<M> {
    /// Gives every mapping of a merged page that failed a new frame: one of zeros, or a copy of a
    /// twin. Without memory or a twin nothing changes but that the frame is not stable any more.
    /// The lock of errors is held, and the frame is known to be poisoned: it gains no mapping.
    pub(crate) fn heal(&self, page: &UserFrame) -> Healing {
        let mut healing = Healing::default();
        let mut ksm = self.ksm.lock();
        let place = ksm.stable.remove(page.pfn());
        let room = ksm.stable.reserve([self.permit(), self.permit()]);
        let (Some(place), Ok(())) = (place, room) else {
            return healing;
        };
        let Ok(fresh) = self.room_for_mappers_of(page) else {
            return healing;
        };
        if place.class == Class::ZERO {
            self.machine.zero(&fresh);
            healing.done = true;
        } else {
            let mut before = None;
            for unreadable in &mut healing.unreadable {
                let twin = self.older_frame(&mut ksm, place.checksum, place.class, before);
                let Some((twin_place, twin)) = twin else {
                    break;
                };
                before = Some(twin_place);
                let copied = self.machine.copy_page(&fresh, &twin);
                self.frames.put(twin);
                match copied {
                    Ok(()) => {
                        healing.done = true;
                        break;
                    }
                    Err(poisoned) => *unreadable = Some(poisoned.pfn),
                }
            }
        }
        if healing.done {
            ksm.healed += 1;
            ksm.stable
                .insert_reserved(fresh.pfn(), place.checksum, Some(place.class));
            self.frames.lock(&fresh).state = FrameState::Ksm;
            self.remap(page, &fresh);
        }
        self.frames.lock(&fresh).migrating = false;
        self.frames.put(fresh);
        healing
    }

    /// A frame with room for the mappers of another. Until it is no longer marked as migrating
    /// it gains none by other ways, which would take the room.
    fn room_for_mappers_of(&self, page: &UserFrame) -> Result<UserFrame, Errno> {
        let mappers = self.frames.lock(page).mappers.len();
        // Not stable yet: the tree may know the frame from an earlier life, as a twin.
        let fresh = self
            .frames
            .allocate_user(&self.machine, FrameState::Anonymous)?;
        let permit = self.permit();
        let mut frame = self.frames.lock(&fresh);
        let room = frame.mappers.reserve(permit, mappers);
        frame.migrating = true;
        drop(frame);
        match room {
            Ok(()) => Ok(fresh),
            Err(error) => {
                self.frames.lock(&fresh).migrating = false;
                self.frames.put(fresh);
                Err(error)
            }
        }
    }

    /// Maps `fresh` wherever `page` is mapped. Both have the same contents, which nobody can
    /// change: so one mapping after the other will do.
    fn remap(&self, page: &UserFrame, fresh: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner, mapper: Mapper| {
                let area = inner.vmas.find(mapper.page());
                debug_assert!(area.is_some(), "a page is mapped outside all areas");
                if let Some(area) = area {
                    self.frames.lock(fresh).mappers.insert_reserved(mapper);
                    self.replace(inner, area, mapper, fresh);
                }
            },
            |_, _| {},
        );
    }
}
