"""Settings: file, then variables, then flags; and what is said of a wrong one."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import pytest

from detectors.river_models import DetectorChoice
from detectors.source import SourceRule
from streams import settings_page
from streams.fields import Secret, fields_of, shown
from streams.settings import FIELDS, SECTIONS, KafkaSettings, Settings, SettingsError, brokers, load

SECRET = "canary-tulip-7"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "groundswell.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def refused(file: str | None = None, **env: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(write(file) if file is not None else None, env=env)
    return caught.value


# --- where a value comes from ---


def test_without_file_and_variables_all_is_default():
    loaded = load(env={})

    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.path is None


def test_flag_wins_over_variable_over_file_over_default():
    write('[kafka]\naddress = "file:1"\ngroup = "file"\n[web]\nport = 1\n')
    env = {"GROUNDSWELL_KAFKA_ADDRESS": "variable:2", "GROUNDSWELL_WEB_PORT": "2"}

    loaded = load(env=env, flags={"kafka.address": "flag:3"})

    assert (loaded.settings.kafka.address, loaded.origins["kafka.address"]) == ("flag:3", "--kafka")
    assert (loaded.settings.web.port, loaded.origins["web.port"]) == (2, "GROUNDSWELL_WEB_PORT")
    assert (loaded.settings.kafka.group, loaded.origins["kafka.group"]) == ("file", "groundswell.toml")
    assert (loaded.settings.web.host, loaded.origins["web.host"]) == ("127.0.0.1", "default")


def test_variable_names_another_file_and_a_given_path_wins_over_it():
    write("[web]\nport = 1\n")
    write("[web]\nport = 2\n", "other.toml")
    given = write("[web]\nport = 3\n", "given.toml")

    assert load(env={}).settings.web.port == 1
    assert load(env={"GROUNDSWELL_SETTINGS": "other.toml"}).settings.web.port == 2
    assert load(given, env={"GROUNDSWELL_SETTINGS": "other.toml"}).settings.web.port == 3


def test_empty_variable_counts_as_not_set():
    assert load(env={"GROUNDSWELL_WEB_PORT": "", "GROUNDSWELL_KAFKA_USERNAME": ""}).settings == Settings()


def test_variables_that_kubernetes_makes_for_a_service_are_not_meant_for_us():
    env = {
        "GROUNDSWELL_PORT": "tcp://10.0.0.1:8600",
        "GROUNDSWELL_PORT_8600_TCP": "tcp://10.0.0.1:8600",
        "GROUNDSWELL_PORT_8600_TCP_ADDR": "10.0.0.1",
        "GROUNDSWELL_SERVICE_HOST": "10.0.0.1",
        "GROUNDSWELL_SERVICE_PORT_HTTP": "8600",
        "GROUNDSWELL_WEB_PORT": "tcp://10.0.0.1:8600",
    }

    assert load(env=env).settings == Settings()


def test_path_in_the_file_is_relative_to_the_file_and_in_a_variable_to_the_folder_we_are_in():
    Path("etc").mkdir()
    Path("etc/ca.pem").touch()
    file = write('[kafka]\nsecurity = "SSL"\nca_file = "ca.pem"\n', "etc/groundswell.toml")

    assert load(file, env={}).settings.kafka.ca_file == Path("etc/ca.pem")
    assert load(file, env={"GROUNDSWELL_KAFKA_CA_FILE": "etc/ca.pem"}).settings.kafka.ca_file == Path("etc/ca.pem")


# --- sources and detectors ---


def test_named_source_takes_from_the_default_source_what_its_table_leaves_out():
    file = write('[source.default]\nlateness_seconds = 9\n[source."Contact  Centre"]\nbucket_seconds = 300\n')

    loaded = load(file, env={"GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS": "120"})

    assert loaded.settings.source_default == SourceRule(bucket_seconds=120, lateness_seconds=9)
    assert loaded.settings.sources == {"contact centre": SourceRule(bucket_seconds=300, lateness_seconds=9)}
    assert loaded.origins["source.contact centre.bucket_seconds"] == "groundswell.toml"
    assert loaded.origins["source.contact centre.lateness_seconds"] == "source.default"


def test_source_named_twice_in_other_case_is_refused():
    error = refused("[source.Tweets]\nbucket_seconds = 60\n[source.tweets]\nbucket_seconds = 300\n")

    assert error.fact == 'source.tweets.bucket_seconds in groundswell.toml: source "tweets" has two tables'


def test_source_that_no_report_can_name_is_refused():
    assert "no report can name this source" in refused('[source."*"]\nbucket_seconds = 60\n').fact
    assert "no report can name this source" in refused('[source."a\\u001b"]\nbucket_seconds = 60\n').fact


def test_detector_of_river_is_read_with_its_parameters():
    write('[[detectors]]\nservices = "whats*"\nname = "HoltWinters"\nparameters = { alpha = 0.2, seasonality = 0 }\n')

    (choice,) = load(env={}).settings.detectors

    assert choice == DetectorChoice(services="whats*", name="HoltWinters", parameters={"alpha": 0.2, "seasonality": 0})


@pytest.mark.parametrize(
    ("file", "fact"),
    [
        ("name = 'Gaussian'", "detector 'Gaussian' is unknown; there are surge, GaussianScorer"),
        ("name = 'HalfSpaceTrees'\nparameters = { height = 40 }", "is out of range; give 1 to 8"),
        ("name = 'HalfSpaceTrees'\nparameters = { height = 4.5 }", "is not a whole number"),
        ("name = 'HalfSpaceTrees'\nparameters = { depth = 4 }", "it has: n_trees, height, window_size, seed"),
    ],
)
def test_detector_that_does_not_exist_or_suit_is_refused(file, fact):
    error = refused("[[detectors]]\n" + file)

    assert error.fact.startswith("[[detectors]] number 1 in groundswell.toml: ")
    assert fact in error.fact


def test_detectors_are_read_in_their_order():
    write('[[detectors]]\nservices = "a*"\nname = "surge"\n[[detectors]]\nname = "surge"\n')

    assert [choice.services for choice in load(env={}).settings.detectors] == ["a*", "*"]


def test_rules_hold_what_decides():
    write("[series]\nlimit = 7\n[reports]\nmax_record_bytes = 999\n[source.calls]\nbucket_seconds = 300\n")

    rules = load(env={}).settings.rules()

    assert (rules.series_limit, rules.max_record_bytes) == (7, 999)
    assert rules.source("calls").bucket_seconds == 300
    assert (rules.partitions, rules.reports_partitions) == (4, 4)


# --- what is said of a wrong value ---


def test_wrong_value_is_quoted_with_its_name_and_what_to_give():
    error = refused(GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS="5m")

    assert error.fact == 'setting GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS="5m" is not a whole number'
    assert error.detail == "Length of a bucket, seconds."
    assert error.hint == "Give 10 to 3600; the default is 60."


@pytest.mark.parametrize(
    ("file", "fact"),
    [
        ("[web]\nport = 70000", "setting web.port=70000 in groundswell.toml is out of range"),
        ('[web]\nport = "8600"', 'setting web.port="8600" in groundswell.toml is not a whole number'),
        ("[web]\nport = 86.5", "setting web.port=86.5 in groundswell.toml is not a whole number"),
        (f"[series]\nlimit = {10**30}", f"setting series.limit={10**30} in groundswell.toml is out of range"),
        ("[reports]\nclock_skew_seconds = nan", "setting reports.clock_skew_seconds=nan in groundswell.toml is"),
        ("[reports]\nclock_skew_seconds = inf", "setting reports.clock_skew_seconds=inf in groundswell.toml is"),
        ('[topics]\nprefix = "a b"', 'setting topics.prefix="a b" in groundswell.toml is not allowed'),
        ('[topics]\ncreate = "yes"', 'setting topics.create="yes" in groundswell.toml is not true or false'),
        ('[log]\nlevel = "warn"', 'setting log.level="warn" in groundswell.toml is not one of its words'),
        ("[log]\nlevel = 2022-10-25", 'setting log.level="2022-10-25" in groundswell.toml is not one of its words'),
        ('[kafka]\naddress = ""', 'setting kafka.address="" in groundswell.toml is not allowed'),
        (
            '[kafka]\naddress = "kafka://a:1"',
            'setting kafka.address="kafka://a:1" in groundswell.toml is not host:port',
        ),
        (
            "[source.default]\nbucket_seconds = 61",
            "setting source.default.bucket_seconds=61 in groundswell.toml does not",
        ),
        ('[source."a.b"]\nbucket_seconds = 61', 'setting source."a.b".bucket_seconds=61 in groundswell.toml does not'),
        ("web = 3", 'unknown setting "web" in groundswell.toml'),
        ("detectors = 3", "detectors in groundswell.toml is not a list of tables"),
        ("[source]\nbucket_seconds = 60", 'unknown setting "source.bucket_seconds" in groundswell.toml'),
        ("[web", "settings file groundswell.toml is not TOML"),
    ],
)
def test_wrong_file_is_refused_by_its_fact(file, fact):
    assert refused(file).fact.startswith(fact)


def test_file_that_is_not_there_or_not_utf8_is_refused():
    with pytest.raises(SettingsError, match=r"settings file nowhere\.toml cannot be read"):
        load(Path("nowhere.toml"), env={})
    Path("latin.toml").write_bytes(b'[kafka]\ngroup = "caf\xe9"\n')
    with pytest.raises(SettingsError, match=r"settings file latin\.toml is not UTF-8"):
        load(Path("latin.toml"), env={})


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ('[kafka]\nadress = "a:1"', "Did you mean kafka.address?"),
        ("[kakfa]\ngroup = 'g'", "Did you mean kafka?"),
        ("[source.calls]\nbucket_second = 60", "Did you mean source.calls.bucket_seconds?"),
        ("[[detectors]]\nservice = 'a'", "Did you mean services?"),
        (
            "[web]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1",
            "There are: web.host, web.port, web.public_url, web.tokens_file, web.user_header, web.trusted_proxies.",
        ),
    ],
)
def test_unknown_setting_is_refused_with_the_nearest_right_one(file, hint):
    assert refused(file).hint == hint


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("GROUNDSWELL_KAFKA_ADRESS", "Did you mean GROUNDSWELL_KAFKA_ADDRESS?"),
        ("GROUNDSWELL_SETTING", "Did you mean GROUNDSWELL_SETTINGS?"),
        ("GROUNDSWELL_KAFKA_PASSWORD_FILES", "Did you mean GROUNDSWELL_KAFKA_PASSWORD_FILE?"),
        ("GROUNDSWELL_SOURCE_CALLS_BUCKET_SECONDS", "Variables set the default source alone"),
        ("GROUNDSWELL_DETECTORS_0_NAME", "Detectors are chosen in groundswell.toml"),
    ],
)
def test_unknown_variable_is_refused_with_the_nearest_right_one(variable, hint):
    error = refused(**{variable: "x"})

    assert error.fact == f"unknown variable {variable}"
    assert error.hint.startswith(hint)


def test_values_that_do_not_fit_each_other_are_told_of_the_one_that_was_written():
    error = refused("[incidents]\nopen_at = 1.0\nclose_at = 1.5\n")

    assert error.fact.startswith("setting incidents.close_at=1.5 in groundswell.toml is not below open_at=1.0")


def test_fewer_series_than_partitions_are_refused():
    assert refused("[series]\nlimit = 3\n").hint == "Give series.limit 4 or more."


# --- secrets and protection ---


def test_password_of_a_file_is_read_without_its_line_end():
    Path("secret").write_text(f"{SECRET}\n")
    env = {
        "GROUNDSWELL_KAFKA_SECURITY": "SASL_SSL",
        "GROUNDSWELL_KAFKA_USERNAME": "u",
        "GROUNDSWELL_KAFKA_PASSWORD_FILE": "secret",
    }

    loaded = load(env=env)

    assert loaded.settings.kafka.password == Secret(SECRET)
    assert loaded.origins["kafka.password"] == "GROUNDSWELL_KAFKA_PASSWORD_FILE"


def test_password_shows_nowhere_but_where_it_is_asked_for():
    env = {
        "GROUNDSWELL_KAFKA_SECURITY": "SASL_SSL",
        "GROUNDSWELL_KAFKA_USERNAME": "u",
        "GROUNDSWELL_KAFKA_PASSWORD": SECRET,
    }

    loaded = load(env=env)

    password = loaded.settings.kafka.password
    assert password is not None
    assert password.reveal() == SECRET
    for text in (repr(loaded), str(loaded), f"{password}", shown(password), shown(loaded.settings.kafka)):
        assert SECRET not in text
    with pytest.raises(TypeError):
        pickle.dumps(password)
    with pytest.raises(TypeError):
        msgspec.json.encode(loaded.settings)


@pytest.mark.parametrize(
    "env",
    [
        {"GROUNDSWELL_KAFKA_PASSWORD": SECRET},
        {"GROUNDSWELL_KAFKA_PASSWORD": SECRET, "GROUNDSWELL_KAFKA_SECURITY": "SASL_SSL"},
        {"GROUNDSWELL_KAFKA_PASSWORD": SECRET, "GROUNDSWELL_KAFKA_PASSWORD_FILE": "secret"},
    ],
)
def test_password_shows_in_no_error(env):
    Path("secret").write_text(SECRET)

    error = refused(**env)

    assert SECRET not in f"{error} {error!r} {error.args}"


def test_password_that_is_not_a_text_is_masked_in_the_error():
    error = refused(f"[kafka]\npassword = ['{SECRET}']\n")

    assert error.fact == "setting kafka.password=*** in groundswell.toml is not a text"


def test_secret_file_that_is_missing_or_empty_is_refused():
    Path("empty").write_text("\n")

    assert refused(GROUNDSWELL_KAFKA_PASSWORD_FILE="nowhere").fact == (
        "file nowhere of GROUNDSWELL_KAFKA_PASSWORD_FILE cannot be read"
    )
    assert refused(GROUNDSWELL_KAFKA_PASSWORD_FILE="empty").fact == (
        "file empty of GROUNDSWELL_KAFKA_PASSWORD_FILE is empty"
    )


def test_unused_and_missing_credentials_are_refused():
    assert refused('[kafka]\nsecurity = "SASL_SSL"\n').fact == (
        'setting kafka.security="SASL_SSL" in groundswell.toml needs a username'
    )
    assert refused(f'[kafka]\nusername = "u"\npassword = "{SECRET}"\n').fact == (
        'setting kafka.username="u" in groundswell.toml is not used with kafka.security="PLAINTEXT"'
    )
    assert refused('[kafka]\nca_file = "ca.pem"\n').fact.endswith('is not used with kafka.security="PLAINTEXT"')
    assert refused('[kafka]\nsecurity = "SSL"\nca_file = "ca.pem"\n').fact.endswith("is not a file")
    Path("cert.pem").touch()
    assert refused('[kafka]\nsecurity = "SSL"\ncert_file = "cert.pem"\n').hint == (
        "Give kafka.key_file (GROUNDSWELL_KAFKA_KEY_FILE), too."
    )


def test_hostile_value_is_quoted_without_control_characters_and_cut():
    error = refused(GROUNDSWELL_LOG_LEVEL="\x1b[31m" + "x" * 100_000)

    assert "\x1b" not in str(error)
    assert len(str(error)) < 500


def test_bytes_that_are_not_utf8_in_a_variable_can_be_told():
    error = refused(GROUNDSWELL_LOG_LEVEL="caf\udce9")

    assert str(error).encode()


# --- addresses ---


def test_brokers_are_read_with_ipv6_and_the_usual_port():
    assert brokers("a, b.example:19092,[::1]:9093,10.0.0.1") == [
        ("a", 9092),
        ("b.example", 19092),
        ("::1", 9093),
        ("10.0.0.1", 9092),
    ]


@pytest.mark.parametrize("address", ["", "a:0", "a:65536", "a:b", "a,,b", "http://a", "a b", "a:1:2", "a\n:1"])
def test_address_of_no_broker_is_refused(address):
    with pytest.raises(ValueError, match="address="):
        KafkaSettings(address=address)


# --- the page ---


def test_every_setting_has_a_sentence_and_its_unit():
    sentences = {name: field.sentence for name, field in FIELDS.items()}
    sentences |= {field.name: field.sentence for field in fields_of("detectors", DetectorChoice)}

    assert [name for name, sentence in sentences.items() if not sentence] == []
    assert [name for name, text in sentences.items() if name.endswith("_seconds") and "seconds" not in text] == []
    assert [name for name, text in sentences.items() if name.endswith("_days") and "days" not in text] == []


def test_variables_are_told_apart():
    assert len({field.variable for field in FIELDS.values()}) == len(FIELDS)


def test_page_is_what_the_structs_say():
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")

    assert page == settings_page.page(), "run: python -m streams.settings_page > docs/settings.md"


def test_page_names_every_setting():
    page = settings_page.page()

    assert [field.variable for field in FIELDS.values() if f"`{field.variable}`" not in page] == []
    assert [section for section in SECTIONS if f"## [{section}]" not in page] == []


# --- what is planned ---

SWAP = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:tests
BEGIN:VEVENT
UID:7
SUMMARY:Swap
DTSTART:20221025T070000Z
DURATION:PT1H
END:VEVENT
END:VCALENDAR
"""


def test_calendars_lie_beside_the_settings_file_and_their_text_goes_into_the_rules():
    Path("etc").mkdir()
    Path("etc/works.ics").write_text(SWAP)
    file = write('[planned]\nmaintenance = ["works.ics"]\nholidays = { it = "IT" }\n', "etc/groundswell.toml")

    loaded = load(file, env={})
    rules = pickle.loads(pickle.dumps(loaded.settings.rules()))

    assert [each.name for each in rules.calendars] == ["etc/works.ics"]
    assert rules.maintenance().title("whatsapp", "it", 1_666_681_440_000, 1_666_681_440_001) == "Swap"
    assert rules.holidays == {"it": "IT"}
    assert shown(loaded.settings.planned.maintenance) == '["etc/works.ics"]'


def test_variable_gives_calendars_as_json():
    Path("works.ics").write_text(SWAP)

    loaded = load(env={"GROUNDSWELL_PLANNED_MAINTENANCE": '["works.ics"]'})

    assert loaded.settings.planned.maintenance == (Path("works.ics"),)
    assert loaded.settings.calendars[0].text == SWAP


def test_calendar_that_is_not_there_is_named_with_the_setting():
    error = refused('[planned]\nmaintenance = ["works.ics"]\n')

    assert error.fact == "calendar works.ics of planned.maintenance in groundswell.toml cannot be read"
    assert error.detail == "No such file or directory."


def test_broken_calendar_is_named_with_the_event_and_what_is_wrong():
    Path("works.ics").write_text(SWAP.replace("DURATION:PT1H", "DURATION:1H"))

    error = refused('[planned]\nmaintenance = ["works.ics"]\n')

    assert error.fact == "calendar works.ics of planned.maintenance in groundswell.toml cannot be used"
    assert error.detail == "Event 1 (Swap 7): DURATION:1H cannot be read."


def test_calendar_that_is_not_utf8_is_refused():
    Path("works.ics").write_bytes(SWAP.replace("Swap", "Caf\xe9").encode("latin-1"))

    assert "cannot be used" in refused('[planned]\nmaintenance = ["works.ics"]\n').fact


@pytest.mark.parametrize("value", ['"works.ics"', "[1]", '[""]'])
def test_calendars_are_a_list_of_paths(value):
    error = refused(f"[planned]\nmaintenance = {value}\n")

    assert "is not a list of files" in error.fact
    assert error.hint == "Give a list of paths of files; the default is []."


def test_country_that_does_not_exist_is_told_with_the_nearest():
    error = refused('[planned]\nholidays = { it = "it" }\n')

    assert error.fact == "section [planned]: country 'it' is unknown; did you mean IT?"
