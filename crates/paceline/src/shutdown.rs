//! When a process is asked to end: SIGTERM, Ctrl-C, or the end of its standard input where it was tied to one.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves on SIGTERM or Ctrl-C.
pub async fn asked_to_end() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be heard");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// As [`asked_to_end`], and when standard input ends if `with_stdin`.
pub async fn asked_to_end_or_stdin(with_stdin: bool) {
    let stdin = async {
        if !with_stdin {
            std::future::pending::<()>().await;
        }
        let (ended, end) = tokio::sync::oneshot::channel();
        // A thread of its own: a blocking read of standard input cannot be cancelled, and must not delay the exit.
        std::thread::spawn(move || {
            let mut sink = [0_u8; 256];
            while !matches!(std::io::stdin().lock().read(&mut sink), Ok(0) | Err(_)) {}
            let _ = ended.send(());
        });
        let _ = end.await;
    };
    tokio::select! {
        () = asked_to_end() => {}
        () = stdin => {}
    }
}
