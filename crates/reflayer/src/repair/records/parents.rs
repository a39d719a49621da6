//! Parents of layers of which no document tells: those of containers.

use storage_core::LayerId;

use crate::Store;
use crate::check::Problem;
use crate::documents::Documents;
use crate::listing::chain;
use crate::repair::error::MendError;
use crate::repair::report::Notes;

impl Store {
    /// Sets the parents of records right that name another layer than the layers' own
    /// directories do, twice and with one voice.
    ///
    /// Where a document tells, that is believed, and the directories are written anew.
    pub(in crate::repair) fn mend_parents(&self, problems: &[Problem], notes: &mut Notes) {
        let wrong = problems.iter().filter(|problem| {
            matches!(problem, Problem::WrongLowers { .. } | Problem::MissingParent { .. })
        });
        let wrong: Vec<LayerId> = wrong.filter_map(Problem::layer).collect();
        if !wrong.is_empty()
            && let Err(error) = self.set_parents(&wrong)
        {
            for layer in &wrong {
                notes.failed(layer.as_str(), &error);
            }
        }
    }

    fn set_parents(&self, wrong: &[LayerId]) -> Result<(), MendError> {
        // Before the lock, as for a pull: with an image store the other one is this store's own.
        let elsewhere = self.elsewhere(self.layers.read()?.records(), &[]).layers;
        let mut layers = self.layers.write()?;
        let documents = Documents::of_recorded(&*self.images.write()?)?;
        let all = [layers.records(), &elsewhere].concat();
        for id in wrong.iter().filter(|id| !documents.layers.contains_key(*id)) {
            let Some(lowers) = self.lowers_of_one_voice(id) else { continue };
            let parent = lowers.first();
            // What is below the parent must be what its own record says.
            let below = chain(parent, &all).into_iter().rev().map(|layer| &layer.id);
            if lowers.iter().eq(below)
                && let Some(record) = layers.get_mut(id)
            {
                record.parent = parent.cloned();
            }
        }
        Ok(layers.save()?)
    }

    /// The layers below, if there are any and both files that tell agree on them.
    fn lowers_of_one_voice(&self, id: &LayerId) -> Option<Vec<LayerId>> {
        let agree = self.driver.lowers_agree(id).is_ok_and(|agree| agree);
        self.driver.lowers(id).ok().filter(|lowers| agree && !lowers.is_empty())
    }
}
