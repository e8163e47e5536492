"""Embeds what changed, every night. Needs the binary `sembla` on the workers."""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.exceptions import AirflowFailException
from airflow.operators.python import PythonOperator

COMMAND = [
    "sembla", "embed", "/data/tickets.parquet", "-o", "/data/vectors.parquet",
    "--column", "text", "--incremental", "--key", "id", "--state", "/data/nightly.state", "--json",
]


def embed() -> dict:
    """Runs the job and gives its figures, which Airflow keeps as the task's XCom."""
    import json
    import subprocess

    run = subprocess.run(COMMAND, capture_output=True, text=True)
    print(run.stderr)
    if run.returncode == 2:
        # The request is wrong, which a retry does not change.
        raise AirflowFailException(run.stderr.strip())
    run.check_returncode()
    return json.loads(run.stdout or "{}")


with DAG(
    dag_id="nightly_embed",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
) as dag:
    PythonOperator(task_id="embed", python_callable=embed)
