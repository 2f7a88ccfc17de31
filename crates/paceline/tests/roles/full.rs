//! What is full says so: a master whose disk is nearly full takes no changes from clients and goes on with everything
//! else; a full cell says how room is made, and tells what never fits from what does not fit now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use paceline_api::detail_of;
use paceline_api::v1::jobs_client::JobsClient;
use paceline_api::v1::{ErrorCode, SubmitJobReply, SubmitJobRequest};
use paceline_identity::{Expect, Role, TlsConnector, channel};
use paceline_replica::{Batch, Disk, DiskError, DiskFile, Folder, Space, Visit};
use paceline_rules::JobSpec;
use paceline_store::RocksDisk;
use paceline_types::Resources;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::Channel;

use crate::calls::Caller;
use crate::cell::{Master, TestCell};

/// A real disk on a filesystem whose room the test decides.
struct Tight {
    inner: RocksDisk,
    free_bytes: Arc<AtomicU64>,
}

impl Disk for Tight {
    fn free_bytes(&self) -> Result<Option<u64>, DiskError> {
        Ok(Some(self.free_bytes.load(Ordering::Relaxed)))
    }

    fn write(&self, batch: Batch) -> Result<(), DiskError> {
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.inner.sync()
    }

    fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.inner.read(space, key)
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.inner.range(space, from, to, visit)
    }

    fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<(), DiskError> {
        self.inner.reclaim(space, from, to)
    }

    fn create(&self, folder: Folder, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.inner.create(folder, name)
    }

    fn open(&self, folder: Folder, name: &str) -> Result<Option<Box<dyn DiskFile>>, DiskError> {
        self.inner.open(folder, name)
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), DiskError> {
        self.inner.rename(folder, from, to)
    }

    fn remove(&self, folder: Folder, name: &str) -> Result<(), DiskError> {
        self.inner.remove(folder, name)
    }

    fn list(&self, folder: Folder) -> Result<Vec<String>, DiskError> {
        self.inner.list(folder)
    }

    fn sync_folder(&self, folder: Folder) -> Result<(), DiskError> {
        self.inner.sync_folder(folder)
    }

    fn describe(&self, folder: Folder, name: &str) -> String {
        self.inner.describe(folder, name)
    }

    fn describe_space(&self, space: Space) -> String {
        self.inner.describe_space(space)
    }
}

/// The jobs service, called by an operator.
fn jobs(cell: &TestCell, master: &Master) -> JobsClient<Channel> {
    let connector = Arc::new(TlsConnector::new(cell.credentials(Role::Operator, "op")));
    JobsClient::new(channel(connector, &master.api.to_string(), Expect::any(Role::Master)))
}

/// One submission without an id and without a retry.
async fn submit(jobs: &mut JobsClient<Channel>, name: &str, tasks: u32) -> Result<SubmitJobReply, Status> {
    let spec = JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(10, 1 << 20));
    let request = SubmitJobRequest { request: None, spec: Some((&spec).into()) };
    jobs.submit(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_changes_by_clients_and_nothing_else() {
    let mut cell = TestCell::new();
    let free_bytes = Arc::new(AtomicU64::new(1 << 40));
    let inner = RocksDisk::open(&cell.path("m1-data")).unwrap();
    let disk = Arc::new(Tight { inner, free_bytes: free_bytes.clone() });
    let master = cell.master_on("m1", disk, Some(Vec::new())).await;
    let client = cell.client(Role::Operator, &master);
    client.cell().status().await.unwrap();
    let operator = cell.credentials(Role::Operator, "op");
    let mut jobs = jobs(&cell, &master);
    submit(&mut jobs, "before", 1).await.unwrap();

    free_bytes.store(100 << 20, Ordering::Relaxed);
    let mut tries = 0;
    let refused = loop {
        tries += 1;
        match submit(&mut jobs, &format!("meanwhile-{tries}"), 1).await {
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(refused) => break refused,
        }
    };
    let detail = detail_of(&refused).unwrap();
    assert_eq!(detail.code(), ErrorCode::Overloaded);
    assert!(detail.retry_after_ms > 0);
    assert!(detail.message.contains("100 MiB are free"), "{}", detail.message);
    let impatient = cell.client(Role::Operator, &master).within(Duration::from_millis(500));
    assert!(impatient.jobs().stop("before").await.is_err(), "a stop is an entry as well");

    // What the cell records by itself goes on: a shard registers. So does what is only read.
    cell.shard(&master, None).await;
    while client.shards().list().await.unwrap().shards.is_empty() {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.jobs().get("before").await.unwrap().name, "before");
    let caller = Caller::new(operator, master.api, Role::Master);
    let metrics = caller.get("/metrics").await;
    for line in ["paceline_disk_nearly_full 1", "paceline_disk_free_bytes 104857600"] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    let ready = caller.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("disk: the disk of this master"), "{ready}");

    free_bytes.store(1 << 40, Ordering::Relaxed);
    client.jobs().stop("before").await.unwrap();
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cell_says_how_room_is_made_and_what_never_fits_is_no_overload() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    cell.set(&master, "tasks_per_cell", 5).await;
    let mut jobs = jobs(&cell, &master);
    // The first call may come before the master says that it leads.
    while let Err(refused) = submit(&mut jobs, "a", 3).await {
        assert_eq!(detail_of(&refused).unwrap().code(), ErrorCode::NotLeader);
        sleep(Duration::from_millis(50)).await;
    }

    let now = detail_of(&submit(&mut jobs, "b", 3).await.unwrap_err()).unwrap();
    assert_eq!(now.code(), ErrorCode::Overloaded);
    assert!(now.retry_after_ms == 0 && now.message.contains("none of them has ended"), "{}", now.message);

    let never = detail_of(&submit(&mut jobs, "c", 6).await.unwrap_err()).unwrap();
    assert_eq!((never.code(), never.retry_after_ms), (ErrorCode::InvalidArgument, 0));
    assert_eq!((never.violations[0].field.as_str(), never.violations[0].value.as_str()), ("tasks", "6"));

    // What the message says is so: when a job has ended it retires, and there is room.
    cell.client(Role::Operator, &master).jobs().stop("a").await.unwrap();
    while let Err(refused) = submit(&mut jobs, "b", 3).await {
        let again = detail_of(&refused).unwrap();
        assert!(again.retry_after_ms > 0 && again.message.contains("come again"), "{}", again.message);
        sleep(Duration::from_millis(50)).await;
    }
    cell.end().await;
}
