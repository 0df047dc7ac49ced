"""What is secret in URLs and storage options is told nowhere and written nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.fetch import Access
from h5stream.fetch.redact import public_url, redact_text, secrets_in
from tests.remote.faults import Proxy
from tests.streams import write_columns

SIGNATURE, PASSWORD, TOKEN = "s1gnatures1gnature", "passw0rdpassw0rd", "t0kent0ken"
OPTIONS: dict[str, Any] = {"headers": {"X-Token": TOKEN}}


@pytest.fixture(scope="module")
def signed(served: Path) -> str:
    write_columns(served / "signed.h5", {"row": np.arange(50)})
    return f"signed.h5?X-Amz-Signature={SIGNATURE}"


def secret_stream(proxy: Proxy, signed: str, **options: Any) -> h5s.H5Stream:
    url = f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}/{signed}"
    return h5s.H5Stream(url, ["row"], batch_size=10, storage_options=OPTIONS, **options)


def assert_silent(text: str) -> None:
    for secret in (SIGNATURE, PASSWORD, TOKEN):
        assert secret not in text


def test_errors_explanations_and_pickles_are_silent(proxy: Proxy, signed: str) -> None:
    stream = secret_stream(proxy, signed, layout=False, retry_s=0.1)
    assert len(list(stream)) == 5
    assert_silent(str(stream.explain()))
    assert_silent(repr(stream.catalog.access) + repr(stream.stages))
    assert_silent(repr(stream.state_dict()))
    assert_silent(pickle.dumps(stream).decode("latin-1"))
    assert_silent(pickle.dumps(stream.catalog).decode("latin-1"))
    for kind in ("503", "403", "reset", "replaced"):
        proxy.script = lambda number, kind=kind: kind
        with pytest.raises(h5s.FetchError) as raised:
            list(stream)
        error: BaseException | None = raised.value
        while error is not None:
            assert_silent(f"{error} {error!r} {getattr(error, 'url', '')}")
            error = error.__cause__ or error.__context__


def test_what_is_written_to_disk_is_silent(proxy: Proxy, signed: str, tmp_path: Path) -> None:
    assert len(list(secret_stream(proxy, signed, cache_dir=tmp_path))) == 5
    url = f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}/{signed}"
    h5s.index_files(url, tmp_path / "sidecar.npz", storage_options=OPTIONS)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 2
    for path in written:
        assert_silent(str(path) + path.read_bytes().decode("latin-1"))


def test_a_pickle_that_was_written_down_needs_its_options_again(proxy: Proxy, signed: str) -> None:
    access = Access({"key": "AKIAXYZ", "secret": PASSWORD, "endpoint_url": "http://minio:9000"})
    copied = pickle.loads(pickle.dumps(access))
    assert repr(copied) == "Access({'endpoint_url': 'http://minio:9000'})"


def test_all_that_is_in_a_token_is_secret() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEabcd\n-----END PRIVATE KEY-----\n"
    token = {"type": "service_account", "private_key": key, "nested": {"ids": ["1d1d1d"]}}
    told = redact_text(f"no {token} in /keys/a.json", secrets_in("gs://b/a.h5", {"token": token}))
    for secret in ("MIIEabcd", "1d1d1d", "service_account"):
        assert secret not in told
    for secret_token in (token, "/keys/a.json", "ya29.t0ken"):
        access = pickle.loads(pickle.dumps(Access({"token": secret_token, "project": "mine"})))
        assert repr(access) == "Access({'project': 'mine'})"


@pytest.mark.parametrize("way", ["anon", "cloud", "google_default"])
def test_where_to_look_for_a_token_is_not_secret(way: str) -> None:
    assert secrets_in("gs://b/a.h5", {"token": way}) == frozenset()
    assert (
        repr(pickle.loads(pickle.dumps(Access({"token": way})))) == f"Access({{'token': '{way}'}})"
    )


def test_urls_that_differ_in_what_is_secret_stay_apart() -> None:
    access = Access()
    names = [access.name(f"https://host/a.h5?version={n}") for n in (1, 2, 1)]
    assert names == ["https://host/a.h5", "https://host/a.h5#2", "https://host/a.h5"]


secrets = st.text("abcdefgh0123456789", min_size=6, max_size=20)


@given(secrets, secrets, secrets)
def test_no_public_url_and_no_redacted_text_has_a_secret(user: str, word: str, sig: str) -> None:
    url = f"https://{user}:{word}@host/x.h5?sig={sig}"
    public = public_url(url)
    assert public == "https://host/x.h5"
    told = redact_text(f"cannot open {url} with {word} and {sig}", secrets_in(url, {}))
    assert word not in told
    assert sig not in told
