//! Runs of Spark over scripted answers of EMR Serverless and S3.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snowpack_aws::{EmrServerless, SparkApplication};
use snowpack_service::ports::{RemoteError, RunOrder, RunStatus, SparkRuns};

use crate::script::{Answer, Request, Script};

const RUN: &str = "00f1";

fn runs(script: &Script) -> EmrServerless {
    let application = SparkApplication {
        id: "app1".into(),
        execution_role_arn: "arn:aws:iam::123456789012:role/spark".into(),
        location: "s3://bucket/spark/".into(),
        conf: BTreeMap::from([("spark.a".to_owned(), "b c".to_owned())]),
    };
    EmrServerless::new(script.emr_serverless(), script.s3(), application)
}

fn order() -> RunOrder {
    RunOrder {
        token: "job-rewrite".into(),
        document: "{}".into(),
        script: "print()",
    }
}

fn failure(status: u16, code: &str) -> Answer {
    Answer::Reply(status, json!({"__type": code, "message": "why"}).to_string())
}

fn in_state(state: &str) -> Answer {
    Answer::ok(
        json!({"jobRun": {
            "applicationId": "app1", "jobRunId": RUN, "arn": "arn", "createdBy": "me", "createdAt": 1.0, "updatedAt": 1.0,
            "executionRole": "arn", "state": state, "stateDetails": "details", "releaseLabel": "emr-7.12.0",
            "jobDriver": {"sparkSubmit": {"entryPoint": "s3://b/run.py"}}
        }})
        .to_string(),
    )
}

fn started() -> Answer {
    Answer::ok(json!({"applicationId": "app1", "jobRunId": RUN, "arn": "arn"}).to_string())
}

fn is_start(request: &Request) -> bool {
    request.uri.contains("/applications/app1/jobruns")
}

#[tokio::test]
async fn an_application_between_two_states_is_asked_again_later() {
    let answer = |code: &'static str| {
        Script::new(move |request| {
            if is_start(request) {
                failure(409, code)
            } else {
                Answer::ok("")
            }
        })
    };
    let busy = runs(&answer("ConflictException")).start(&order()).await;
    assert!(matches!(busy, Err(RemoteError::Unavailable(_))), "{busy:?}");
    let wrong = runs(&answer("ValidationException")).start(&order()).await;
    assert!(matches!(wrong, Err(RemoteError::Refused(_))), "{wrong:?}");
}

#[tokio::test]
async fn a_run_is_put_in_place_and_started_under_its_token() {
    let script = Script::new(|request| {
        if is_start(request) {
            started()
        } else {
            Answer::ok("")
        }
    });
    let runs = runs(&script);
    assert_eq!(runs.start(&order()).await.unwrap(), RUN);
    assert_eq!(runs.start(&order()).await.unwrap(), RUN);
    let asked = script.asked();
    let put: Vec<_> = asked.iter().filter(|request| request.method == "PUT").collect();
    assert!(
        put[0].uri.contains("spark/runs/job-rewrite/run.py"),
        "{}",
        put[0].uri
    );
    assert!(
        put[1].uri.contains("spark/runs/job-rewrite/order.json"),
        "{}",
        put[1].uri
    );
    let starts: Vec<Value> = asked
        .iter()
        .filter(|request| is_start(request))
        .map(|request| serde_json::from_str(&request.body).unwrap())
        .collect();
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[0], starts[1], "the service takes equal requests for one");
    let start = &starts[0];
    assert_eq!(start["clientToken"], "job-rewrite");
    assert_eq!(start["executionRoleArn"], "arn:aws:iam::123456789012:role/spark");
    assert_eq!(start["executionTimeoutMinutes"], 720);
    let submit = &start["jobDriver"]["sparkSubmit"];
    assert_eq!(submit["entryPoint"], "s3://bucket/spark/runs/job-rewrite/run.py");
    let arguments =
        ["order.json", "output.json"].map(|name| format!("s3://bucket/spark/runs/job-rewrite/{name}"));
    assert_eq!(submit["entryPointArguments"], json!(arguments));
    let conf = &start["configurationOverrides"]["applicationConfiguration"][0];
    assert_eq!(conf["classification"], "spark-defaults");
    assert_eq!(conf["properties"], json!({"spark.a": "b c"}));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_under_the_same_token() {
    let mut lost = false;
    let script = Script::new(move |request| match is_start(request) {
        true if !std::mem::replace(&mut lost, true) => Answer::Lost,
        true => started(),
        false => Answer::ok(""),
    });
    assert_eq!(runs(&script).start(&order()).await.unwrap(), RUN);
    let tokens: Vec<_> = script.asked().into_iter().filter(is_start).collect();
    assert!(tokens.len() == 2 && tokens[0].body == tokens[1].body);
}

#[tokio::test]
async fn states_are_told_apart() {
    let going = [
        "SUBMITTED",
        "QUEUED",
        "PENDING",
        "SCHEDULED",
        "RUNNING",
        "CANCELLING",
        "A_NEW_ONE",
    ];
    for state in going {
        let script = Script::of(vec![in_state(state)]);
        assert_eq!(
            runs(&script).status(RUN).await.unwrap(),
            RunStatus::Going,
            "{state}"
        );
    }
    let ended = [
        (in_state("SUCCESS"), RunStatus::Succeeded),
        (in_state("FAILED"), RunStatus::Failed("details".into())),
        (
            in_state("CANCELLED"),
            RunStatus::Failed("it was cancelled (details)".into()),
        ),
        (failure(404, "ResourceNotFoundException"), RunStatus::Unknown),
    ];
    for (answer, expected) in ended {
        assert_eq!(
            runs(&Script::of(vec![answer])).status(RUN).await.unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn passing_faults_and_refusals_are_told_apart() {
    let busy = Script::new(|_| failure(429, "ThrottlingException"));
    let busy = runs(&busy).status(RUN).await.unwrap_err();
    assert!(matches!(busy, RemoteError::Unavailable(_)), "{busy}");
    let denied = Script::new(|request| match is_start(request) {
        true => failure(403, "AccessDeniedException"),
        false => Answer::ok(""),
    });
    let denied = runs(&denied).start(&order()).await.unwrap_err();
    assert!(
        matches!(&denied, RemoteError::Refused(why) if why.contains("StartJobRun: AccessDenied")),
        "{denied}"
    );
}

#[tokio::test]
async fn a_run_that_is_over_or_gone_needs_no_stopping() {
    let stopped = Script::of(vec![Answer::ok(
        json!({"applicationId": "app1", "jobRunId": RUN}).to_string(),
    )]);
    runs(&stopped).cancel(RUN).await.unwrap();
    assert_eq!(stopped.asked()[0].method, "DELETE");
    runs(&Script::of(vec![failure(404, "ResourceNotFoundException")]))
        .cancel(RUN)
        .await
        .unwrap();
    let over = Script::of(vec![failure(400, "ValidationException"), in_state("SUCCESS")]);
    runs(&over).cancel(RUN).await.unwrap();
    let refused = Script::of(vec![failure(403, "AccessDeniedException"), in_state("RUNNING")]);
    let refused = runs(&refused).cancel(RUN).await.unwrap_err();
    assert!(matches!(refused, RemoteError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn what_a_run_left_is_read_or_missing() {
    let text = r#"{"format":1,"rows":[]}"#;
    let left = Script::new(move |request| match request.method.as_str() {
        "HEAD" => Answer::Size(text.len() as u64),
        _ => Answer::ok(text),
    });
    assert_eq!(
        runs(&left).output("job-rewrite").await.unwrap().as_deref(),
        Some(text)
    );
    assert!(left.asked()[0].uri.contains("spark/runs/job-rewrite/output.json"));
    let nothing = Script::new(|_| Answer::Reply(404, String::new()));
    assert_eq!(runs(&nothing).output("job-rewrite").await.unwrap(), None);
}
