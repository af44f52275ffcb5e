//! Runs behaviours as tests, each on the Envoys that it is meant for.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::bootstrap::Options;
use crate::envoy::Release;
use crate::world::World;

/// A test of something that is given.
pub type Behaviour<T> = for<'a> fn(&'a T) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A behaviour and its name.
#[derive(Clone, Copy)]
pub struct Named<T> {
    /// The function's name.
    pub name: &'static str,
    /// The function.
    pub behaviour: Behaviour<T>,
}

/// Names async functions as behaviours. One that is forgotten is dead code, and the compiler says so.
#[macro_export]
macro_rules! behaviours {
    ($($function:ident),* $(,)?) => {
        vec![$($crate::suite::Named {
            name: stringify!($function),
            behaviour: |given| Box::pin($function(given)),
        }),*]
    };
}

/// The tests of one file.
pub struct Suite {
    runtime: Runtime,
    trials: Vec<Trial>,
}

impl Default for Suite {
    fn default() -> Self {
        Self { runtime: Runtime::new().expect("a runtime"), trials: Vec::new() }
    }
}

impl Suite {
    /// Without any test.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Behaviours that share a world, one at a time. It starts with the first and stops after the last.
    #[must_use]
    pub fn shared(
        mut self,
        releases: &[Release],
        options: fn(&Release) -> Options,
        behaviours: Vec<Named<World>>,
    ) -> Self {
        for release in releases {
            let world = Arc::new(Mutex::new(None));
            for Named { name, behaviour } in &behaviours {
                let (release, world, behaviour) = (release.clone(), Arc::clone(&world), *behaviour);
                self.add(&release.clone(), name, async move || {
                    let mut world = world.lock().await;
                    if world.is_none() {
                        *world = Some(World::start(&options(&release)).await);
                    }
                    if let Some(world) = world.as_ref() {
                        behaviour(world).await;
                    }
                });
            }
        }
        self
    }

    /// Behaviours that start what they need.
    #[must_use]
    pub fn alone(mut self, releases: &[Release], behaviours: Vec<Named<Release>>) -> Self {
        for release in releases {
            for Named { name, behaviour } in &behaviours {
                let (given, behaviour) = (release.clone(), *behaviour);
                self.add(release, name, async move || behaviour(&given).await);
            }
        }
        self
    }

    fn add(&mut self, release: &Release, name: &str, test: impl AsyncFnOnce() + Send + 'static) {
        let runtime = self.runtime.handle().clone();
        let trial = Trial::test(name, move || {
            runtime.block_on(test());
            Ok(())
        });
        self.trials.push(trial.with_kind(format!("Envoy {}", release.version)));
    }

    /// Runs them; the arguments are those of every test binary.
    #[must_use]
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code()
    }
}
