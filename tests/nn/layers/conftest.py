"""What the tests of layers share."""

import pytest

import nn


@pytest.fixture(params=[False, True], ids=["default", "plain"])
def both_versions(request, monkeypatch):
    """The test runs on the fast version and on the textbook: pytestmark = pytest.mark.usefixtures("both_versions")."""
    monkeypatch.setattr(nn.config, "plain", request.param)
