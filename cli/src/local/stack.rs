//! A whole stack: servers, databases and services, started in order and stopped backwards.
//!
//! `kisum up` runs one in `.kisum/`; tests run many, side by side, in temporary folders.

use super::{
    Failure, Part,
    account::{self, Account},
    child::{Child, Janitor, NotReady, Plan, Signal, StopBy},
    connections,
    databases::{self, Database},
    failure::with_causes,
    layout::Layout,
    leftovers, nats,
    ports::Ports,
    postgres, redis,
    secrets::Secrets,
    services::{self, Addresses},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

/// How long a server or a service may take until it is ready; a cold, busy machine with two cores needs seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer to `/ready` may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a part is started again that could not start yet.
const START_TRIES: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(250);
/// What passes: backends of a killed PostgreSQL linger, and a service ends with 3 while what it needs is too slow to answer.
const NOT_YET: [&str; 2] = ["pre-existing shared memory block", "(exit status: 3)"];

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The folder that holds everything; created when missing.
    pub folder: PathBuf,
    /// The `kisum` binary that services run.
    pub binary: PathBuf,
    /// Whether data survives a crash of the machine. Tests, whose data dies with them, turn this off.
    pub durable: bool,
    /// Whether the folder is removed at the end, and also when this process is killed.
    pub temporary: bool,
    /// The first of the ports to try before any others; a fixed range is easier to remember for a person.
    pub first_port: Option<u16>,
    /// Which services run. The servers and databases always do.
    pub services: Vec<Part>,
    /// Variables set on top of a service's own, to test other settings.
    pub overrides: HashMap<Part, BTreeMap<String, String>>,
}

impl StackOptions {
    /// A durable stack in a folder, with every service.
    pub fn durable(folder: PathBuf, binary: PathBuf) -> Self {
        Self {
            folder,
            binary,
            durable: true,
            temporary: false,
            first_port: None,
            services: Part::SERVICES.to_vec(),
            overrides: HashMap::new(),
        }
    }

    /// A stack that vanishes with this process, with every service.
    pub fn temporary(folder: PathBuf, binary: PathBuf) -> Self {
        Self { durable: false, temporary: true, ..Self::durable(folder, binary) }
    }

    /// The same with other services; none leaves servers and migrated databases.
    #[must_use]
    pub fn with_services(self, services: &[Part]) -> Self {
        Self { services: services.to_vec(), ..self }
    }
}

/// What every part of a stack stands on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Where things lie.
    pub layout: &'a Layout,
    /// Which ports they take.
    pub ports: &'a Ports,
    /// Their secrets.
    pub secrets: &'a Secrets,
    /// Who runs the servers.
    pub account: Account,
    /// Whether data survives a crash of the machine.
    pub durable: bool,
}

/// A running stack. Dropping it stops every process; [`Stack::stop`] does so in order and waits.
#[derive(Debug)]
pub struct Stack {
    options: StackOptions,
    layout: Layout,
    ports: Ports,
    secrets: Secrets,
    account: Account,
    children: BTreeMap<Part, Child>,
    janitor: Option<Janitor>,
    http: reqwest::Client,
}

impl Stack {
    /// Prepares the folder, ports and secrets; starts nothing yet.
    ///
    /// # Errors
    /// One line that says what is missing and what to do.
    pub async fn prepare(options: StackOptions) -> Result<Self, Failure> {
        let account = Account::find()?;
        let layout = Layout::create(&options.folder)?;
        leftovers::stop(&layout.run()).await?;
        let janitor = if options.temporary {
            let folders = [layout.root().to_owned(), account::elsewhere_root(layout.root())];
            Some(Janitor::watch(&layout.run(), &folders)?)
        } else {
            None
        };
        let ports = Ports::choose(&Part::all_ports(), &layout.ports(), options.first_port)?;
        ports.remember(&layout.ports())?;
        let secrets = Secrets::in_folder(&layout.secrets());
        secrets.ensure()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PROBE_TIMEOUT)
            .build()
            .map_err(|error| Failure::new(format!("no HTTP client: {error}"), "this is a defect"))?;
        Ok(Self { options, layout, ports, secrets, account, children: BTreeMap::new(), janitor, http })
    }

    /// Prepares, starts the servers, brings the databases up to date, starts the services and waits for each.
    ///
    /// # Errors
    /// One line that says what failed and what to do; what was started is stopped.
    pub async fn start(options: StackOptions) -> Result<Self, Failure> {
        let mut stack = Self::prepare(options).await?;
        match stack.start_all().await {
            Ok(()) => Ok(stack),
            Err(failure) => {
                stack.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_all(&mut self) -> Result<(), Failure> {
        for server in Part::SERVERS {
            self.start_part(server).await?;
        }
        self.provision().await?;
        self.start_services().await
    }

    /// Creates roles and databases and applies migrations. The servers run.
    ///
    /// # Errors
    /// When PostgreSQL refuses, or a published migration was changed.
    pub async fn provision(&self) -> Result<(), Failure> {
        databases::provision(&postgres::superuser(&self.ground(), "postgres")?, &self.secrets).await?;
        for database in Database::ALL {
            let url = self.addresses_with(|at| at.database(database, database.owner()))?;
            databases::migrate(database, &url)
                .await
                .map_err(|failure| Failure::new(with_causes(&failure), "see .kisum/log/postgres.log"))?;
        }
        Ok(())
    }

    /// Starts every chosen service at once, then waits for each: they wait for one another.
    ///
    /// # Errors
    /// When one dies or is not ready in time.
    pub async fn start_services(&mut self) -> Result<(), Failure> {
        let services = self.options.services.clone();
        self.connections_fit(&services).await?;
        for service in &services {
            self.spawn(*service).await?;
        }
        for service in services {
            self.settle(service).await?;
        }
        Ok(())
    }

    /// Whether the server has the connections of all services at once, which none of them can see by itself.
    async fn connections_fit(&self, services: &[Part]) -> Result<(), Failure> {
        let mut needs = Vec::new();
        for service in services {
            let pool = self.environment(*service)?.remove("DB_POOL_MAX").and_then(|text| text.parse().ok());
            needs.push((*service, connections::of(*service, pool.unwrap_or_default())));
        }
        connections::fit(&postgres::superuser(&self.ground(), "postgres")?, &needs).await
    }

    /// Starts one part and waits until it is ready.
    ///
    /// # Errors
    /// When it dies or is not ready in time.
    pub async fn start_part(&mut self, part: Part) -> Result<(), Failure> {
        self.spawn(part).await?;
        self.settle(part).await
    }

    /// Waits until a part that was spawned is ready, and spawns it again where it could not start yet.
    async fn settle(&mut self, part: Part) -> Result<(), Failure> {
        for _ in 0..START_TRIES {
            match self.wait_ready(part).await {
                Err(failure) if NOT_YET.iter().any(|passing| failure.to_string().contains(passing)) => {
                    self.children.remove(&part);
                    tokio::time::sleep(START_PAUSE).await;
                    self.spawn(part).await?;
                }
                outcome => return outcome,
            }
        }
        self.wait_ready(part).await
    }

    async fn spawn(&mut self, part: Part) -> Result<(), Failure> {
        let plan = match part {
            Part::Postgres => postgres::plan(&self.ground()).await?,
            Part::Nats => nats::plan(&self.ground())?,
            Part::Redis => redis::plan(&self.ground())?,
            service => self.service_plan(service)?,
        };
        for port in [part.port(), part.ops_port()].into_iter().flatten() {
            self.ports.release(port);
        }
        self.children.insert(part, Child::start(plan)?);
        Ok(())
    }

    fn service_plan(&self, part: Part) -> Result<Plan, Failure> {
        let mut command = vec![self.options.binary.display().to_string()];
        command.extend(part.serve_arguments().iter().map(|&word| word.to_owned()));
        Ok(Plan {
            name: part.name().to_owned(),
            command,
            environment: self.environment(part)?,
            folder: self.layout.root().to_owned(),
            log: self.layout.log(part.name()),
            run: self.layout.run(),
            stop: StopBy { signal: Signal::Term, patience_secs: 15 },
        })
    }

    async fn wait_ready(&mut self, part: Part) -> Result<(), Failure> {
        let postgres = postgres::superuser(&self.ground(), "postgres")?;
        let address = self.ports.address(part.name());
        let url = format!("{}/ready", self.addresses_with(|at| at.ops(part)));
        let http = self.http.clone();
        let Some(child) = self.children.get_mut(&part) else {
            return Err(Failure::new(format!("{part} was not started"), "start it first"));
        };
        let ready = || async {
            match part {
                Part::Postgres => postgres::ready(&postgres).await,
                Part::Nats => nats::ready(&address).await,
                Part::Redis => redis::ready(&address).await,
                _ => service_ready(&http, &url).await,
            }
        };
        child.wait_until(READY_TIMEOUT, ready).await
    }

    /// What the parts stand on.
    pub const fn ground(&self) -> Ground<'_> {
        Ground {
            layout: &self.layout,
            ports: &self.ports,
            secrets: &self.secrets,
            account: self.account,
            durable: self.options.durable,
        }
    }

    /// Reads an address or URL of this stack.
    pub fn addresses_with<T>(&self, read: impl FnOnce(&Addresses<'_>) -> T) -> T {
        let ground = self.ground();
        read(&Addresses::on(&ground))
    }

    /// Where things lie.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The secrets.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A service's environment, overrides included: what a test needs to run a service inside its own process.
    ///
    /// # Errors
    /// When a secret is missing and cannot be made.
    pub fn environment(&self, part: Part) -> Result<BTreeMap<String, String>, Failure> {
        let mut variables = services::environment(part, &self.ground())?;
        variables.extend(self.options.overrides.get(&part).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        Ok(variables)
    }

    /// Everything that `.kisum/env` holds, by name.
    ///
    /// # Errors
    /// When a secret is missing and cannot be made.
    pub fn variables(&self) -> Result<BTreeMap<String, String>, Failure> {
        super::env_file::variables(&self.ground())
    }

    /// One of [`Stack::variables`]; empty when there is none of that name.
    ///
    /// # Errors
    /// When a secret is missing and cannot be made.
    pub fn variable(&self, name: &str) -> Result<String, Failure> {
        Ok(self.variables()?.remove(name).unwrap_or_default())
    }

    /// The process id of a running part.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.children.get(&part).map(Child::pid)
    }

    /// Sends a signal to a part. [`Signal::Stop`] freezes it, [`Signal::Continue`] lets it go on.
    pub fn signal(&self, part: Part, signal: Signal) {
        if let Some(child) = self.children.get(&part) {
            child.signal(signal);
        }
    }

    /// Freezes a part, as a long pause of its machine would. PostgreSQL's backends are processes of their own and
    /// go on.
    pub fn pause(&self, part: Part) {
        self.signal(part, Signal::Stop);
    }

    /// Lets a frozen part go on.
    pub fn resume(&self, part: Part) {
        self.signal(part, Signal::Continue);
    }

    /// Kills a part as a crash would; returns when it is gone.
    pub async fn kill(&mut self, part: Part) {
        if let Some(child) = self.children.remove(&part) {
            child.kill().await;
        }
    }

    /// Stops a part in order; returns when it is gone.
    pub async fn stop_part(&mut self, part: Part) {
        if let Some(child) = self.children.remove(&part) {
            child.stop().await;
        }
    }

    /// Stops a part in order, if it runs, and starts it again on the same ports.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self, part: Part) -> Result<(), Failure> {
        self.stop_part(part).await;
        self.start_part(part).await
    }

    /// The first part that has ended though nobody asked it to.
    pub fn fallen(&mut self) -> Option<(Part, Failure)> {
        self.children.iter_mut().find_map(|(part, child)| {
            let status: ExitStatus = child.exited()?;
            Some((*part, child.obituary(Some(status))))
        })
    }

    /// Stops everything, services before servers, and removes a temporary stack's folder.
    pub async fn stop(mut self) {
        let running = std::mem::take(&mut self.children);
        let (services, servers): (Vec<_>, Vec<_>) =
            running.into_iter().rev().partition(|(part, _)| Part::SERVICES.contains(part));
        for group in [services, servers] {
            let stopping: Vec<_> = group.into_iter().map(|(_, child)| tokio::spawn(child.stop())).collect();
            for one in stopping {
                let _ = one.await;
            }
        }
        if let Some(janitor) = self.janitor.take() {
            let root = self.layout.root();
            let _ = std::fs::remove_dir_all(account::elsewhere_root(root));
            let _ = std::fs::remove_dir_all(root);
            janitor.dismiss().await;
        }
    }
}

/// Nothing while the service does not answer at all, else what its `/ready` says.
async fn service_ready(http: &reqwest::Client, url: &str) -> Result<(), NotReady> {
    let answer = http.get(url).send().await.map_err(|_| NotReady::Silent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(answer.text().await.map_or(NotReady::Silent, NotReady::Says))
}

/// The `kisum` binary that Cargo has built beside the running test or benchmark.
///
/// # Errors
/// When it has not been built.
pub fn binary_beside_this() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::io("finding this program", &error))?;
    let folders = own.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("kisum")).find(|candidate| candidate.is_file()).ok_or_else(|| {
        Failure::new("the `kisum` binary has not been built", "run `cargo build -p kisum`, or use `./dev test`")
    })
}
