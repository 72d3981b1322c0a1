import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import cpu
from two_processes import plain_training

from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.loop import fit

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


def run_in_two_processes(folder: Path, *which: str) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(HERE / "two_processes.py")]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, str(folder), *which], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both trainings, which two processes did; to start them costs more than to train."""
    folder = tmp_path_factory.mktemp("two")
    run_in_two_processes(folder, "plain", "toy")
    return folder


def test_two_processes_do_what_one_does(ended: Path, tmp_path: Path) -> None:
    fit(plain_training(), tmp_path, cpu())
    two, one = read_newest_checkpoint(ended / "plain" / "state"), read_newest_checkpoint(tmp_path / "state")
    assert one is not None
    assert two is not None
    assert one[0].keys() == two[0].keys()
    for name, tensor in one[0].items():
        torch.testing.assert_close(two[0][name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_pool_of_its_own_is_kept_for_each_process_and_both_resume(ended: Path) -> None:
    own = read_newest_checkpoint(ended / "toy" / "state" / "rank-1")
    first = read_newest_checkpoint(ended / "toy" / "state")
    assert own is not None
    assert first is not None
    assert not torch.equal(own[0]["objective/images"], first[0]["objective/images"])
    run_in_two_processes(ended, "toy")  # resumes, finds nothing to do, and ends well
