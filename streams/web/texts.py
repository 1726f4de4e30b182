"""Texts: all words of the status page, English and Italian, with numbers and spans of time as each language has them.

What records say (summaries, reasons, names) stays as it is: it is the same for all readers.
"""

from __future__ import annotations

import enum
import re

#: A text with `|` has a form for one and a form for any other number `n`.
_TEXTS: dict[str, tuple[str, str]] = {
    # The frame
    "skip": ("Skip to the content", "Vai al contenuto"),
    "nav": ("Pages", "Pagine"),
    "overview": ("Overview", "Situazione"),
    "history": ("History", "Storico"),
    "language": ("Language", "Lingua"),
    "connected": ("Connected", "Connesso"),
    "polling": ("Every {seconds} s", "Ogni {seconds} s"),
    "data_until": ("Data until", "Ultimi dati:"),
    "ago": ("{age} ago", "{age} fa"),
    "no_data": ("No data yet", "Ancora nessun dato"),
    "your_time": ("{time} your time", "{time} ora locale"),
    "lost": ("Connection lost.", "Connessione persa."),
    "lost_since": ("This is the state of", "Ultimo stato noto:"),
    "reconnecting": ("trying to reconnect.", "nuovo tentativo in corso."),
    "utc": ("Times are UTC.", "Gli orari sono UTC."),
    "as_json": ("Incidents as JSON", "Incidenti in JSON"),
    "this_as_json": ("As JSON", "In JSON"),
    "feed": ("Feed", "Feed Atom"),
    "metrics": ("Metrics", "Metriche"),
    "login": ("Log in", "Accedi"),
    "logout": ("Log out", "Esci"),
    "logged_in": ("Logged in as", "Accesso come"),
    # How things stand
    "in_trouble": ("1 service in trouble|{n} services in trouble", "1 servizio con problemi|{n} servizi con problemi"),
    "feeds_silent": ("1 feed silent|{n} feeds silent", "1 fonte muta|{n} fonti mute"),
    "everything_in_trouble": ("Everything in trouble", "Problemi ovunque"),
    "region_in_trouble": ("All services of a region in trouble", "Tutti i servizi di una regione con problemi"),
    "state_unknown": ("State unknown", "Stato sconosciuto"),
    "waiting": ("Waiting for the first report", "In attesa della prima segnalazione"),
    "was_calm": ("No service was in trouble", "Nessun servizio aveva problemi"),
    "calm": ("No service in trouble", "Nessun servizio con problemi"),
    "worst": ("Worst", "Il peggiore"),
    "for_span": ("for {age}", "da {age}"),
    "all_usual": (
        "All that comes in is within its usual range.",
        "Tutto ciò che arriva è nella norma.",
    ),
    "ready": ("Connected and ready.", "Connesso e pronto."),
    "doubt": ("What is shown here may be out of date.", "Quanto mostrato potrebbe non essere aggiornato."),
    "stalled": ("Detection is stalled:", "Il rilevamento è fermo:"),
    "not_ready": ("Detection is not ready:", "Il rilevamento non è pronto:"),
    "no_data_in": ("No data comes in.", "Non arrivano dati."),
    "nothing_known": (
        "Nothing is known after {time} UTC; trouble since then would not show here.",
        "Ultimi dati: {time} UTC; problemi successivi qui non si vedrebbero.",
    ),
    "verdicts": ("Verdicts", "Verdetti"),
    "services_in_trouble": ("In trouble", "Con problemi"),
    "quiet": ("Quiet", "Tranquilli"),
    "quiet_since": ("since", "ultimo problema:"),
    "more_quiet": ("and {n} more", "e altri {n}"),
    "resolved_ones": ("Resolved", "Risolti"),
    "none_yet": ("None yet.", "Ancora nessuno."),
    "all_of_them": ("all of them", "tutti"),
    "more_in_trouble": ("and {n} more in trouble:", "e altri {n} con problemi:"),
    "more": ("and {n} more", "e altri {n}"),
    "whole_history": ("The whole history", "Tutto lo storico"),
    # An incident
    "severity.critical": ("critical", "critico"),
    "severity.error": ("error", "grave"),
    "severity.warning": ("warning", "avviso"),
    "severity.info": ("info", "info"),
    "kind.series": ("a service in a region", "un servizio in una regione"),
    "kind.service": ("a service", "un servizio"),
    "kind.region": ("a region with all its services", "una regione con tutti i suoi servizi"),
    "kind.global": ("everything", "tutto"),
    "kind.feed": ("a silent feed", "una fonte muta"),
    "all_services": ("All services", "Tutti i servizi"),
    "everything": ("Everything", "Tutto"),
    "everywhere": ("everywhere", "ovunque"),
    "all_of": ("all of {where}", "tutta l'area {where}"),
    "what_in": ("{what} in {where}", "{what} in {where}"),
    "feed_named": ("Feed {name}", "Fonte {name}"),
    "no_region": ("region not reported", "regione non indicata"),
    "regions_in_trouble": ("1 region|{n} regions", "1 regione|{n} regioni"),
    "explains": ("explains 1 more|explains {n} more", "ne spiega un altro|ne spiega altri {n}"),
    "explained_more": ("1 more explained|{n} more explained", "un altro spiegato|altri {n} spiegati"),
    "part_of_wider": ("part of a wider one", "parte di uno più ampio"),
    "part_of_it": ("part of it", "parte di esso"),
    "young": ("young baseline", "storia breve"),
    "silent": ("silent", "muta"),
    "none_usual": ("none usual", "di solito nessuna"),
    "far_over": ("over {n}× usual", "oltre {n}× il solito"),
    "times_usual": ("{n}× usual", "{n}× il solito"),
    "missed": ("{n} reports missed", "{n} segnalazioni mancate"),
    "measured": ("{ratio}, {n} reports", "{ratio}, {n} segnalazioni"),
    "since": ("Since", "Inizio"),
    "seen": ("Seen", "Viste"),
    "reports": ("reports", "segnalazioni"),
    "expected": ("Expected", "Attese"),
    "by_chance": ("By chance", "Per caso"),
    "against_usual": ("Against usual", "Rispetto al solito"),
    "severity": ("Severity", "Gravità"),
    "region": ("Region", "Regione"),
    "service": ("Service", "Servizio"),
    "part": ("Part of it", "Parte"),
    "every_week": ("every week", "ogni settimana"),
    "never": ("practically never", "praticamente mai"),
    "once_weeks": ("once in 1 week|once in {n} weeks", "una volta a settimana|una volta in {n} settimane"),
    "once_years": ("once in {n} years", "una volta in {n} anni"),
    "regions_of": ("Regions of {name} in trouble, worst first", "Regioni di {name} con problemi, le peggiori prima"),
    "explained_by": (
        "What the incident of {name} explains, worst first",
        "Ciò che l'incidente di {name} spiega, i peggiori prima",
    ),
    "details": ("Details", "Dettagli"),
    # The chart
    "per_minute": ("reports per minute", "segnalazioni al minuto"),
    "per_span": ("reports per {age}", "segnalazioni ogni {age}"),
    "key_seen": ("seen", "viste"),
    "key_expected": ("expected, 95 % band", "attese, fascia del 95 %"),
    "key_onset": ("onset", "inizio"),
    "key_detected": ("detected", "rilevato"),
    "key_resolved": ("resolved", "risolto"),
    "chart_label": (
        "{what}: {unit} over the last {age}, the last {seen} against {expected} expected",
        "{what}: {unit} negli ultimi {age}, le ultime {seen} contro {expected} attese",
    ),
    "chart_whole": (
        "{what}: {unit} from {first} to {last}, at most {most}, at the end {seen} against {expected} expected",
        "{what}: {unit}, {first} – {last}, al massimo {most}, alla fine {seen} contro {expected} attese",
    ),
    "no_chart": ("No counts of it are kept.", "Non ne è conservato alcun conteggio."),
    # The page of an incident
    "incident": ("Incident", "Incidente"),
    "lasted": ("lasted", "durato"),
    "came_back": ("came back, episode {n}", "tornato, episodio {n}"),
    "what_broke": ("What broke", "Che cosa"),
    "where": ("Where", "Dove"),
    "how_sure": ("How sure", "Quanto è certo"),
    "whose": ("Whose fault", "Di chi è"),
    "to_do": ("What to do", "Che cosa fare"),
    "verdict.series": (
        "Looks like {what} alone, in {where} alone: no wider cause was found.",
        "Sembra solo {what} e solo in {where}: non risulta una causa più ampia.",
    ),
    "verdict.unplaced": (
        "{what}, but the reports do not say where.",
        "{what}, ma le segnalazioni non dicono dove.",
    ),
    "verdict.service": ("Looks like {what} itself, {where}.", "Sembra {what} stesso, {where}."),
    "verdict.region": (
        "Many services at once in {where}: suspect the network or power there, not the services.",
        "Molti servizi insieme in {where}: rete o corrente di quella zona, non i servizi.",
    ),
    "verdict.global": (
        "Everything at once: suspect what all have in common, or our own feeds.",
        "Tutto insieme: ciò che hanno in comune, oppure le nostre fonti.",
    ),
    "verdict.feed": (
        "The feed itself: no report came by it. What it would show is not known.",
        "La fonte stessa: non ne arrivano segnalazioni. Ciò che mostrerebbe non è noto.",
    ),
    "verdict.parent": ("Explained by a wider incident:", "Spiegato da un incidente più ampio:"),
    "verdict.parent_gone": (
        "Explained by a wider incident that is no longer kept.",
        "Spiegato da un incidente più ampio non più conservato.",
    ),
    "call_nobody": ("Call nobody for this one.", "Per questo non chiamare nessuno."),
    "sure.taking_part": (
        "{n} of {all} looked at show it",
        "{n} su {all} osservati lo mostrano",
    ),
    "sure.explained": ("it explains {share} of all excess", "spiega il {share} di tutto l'eccesso"),
    "sure.likelier": (
        "{factor} likelier than {instead}",
        "{factor} più probabile di {instead}",
    ),
    "sure.chance": ("chance", "il caso"),
    "sure.factor": ("{n} times", "{n} volte"),
    "sure.far": ("a million times and more", "un milione di volte e oltre"),
    "by_chance_so": ("by chance: {chance}", "per caso: {chance}"),
    "young_long": (
        "the baseline is young, so take it with care",
        "la storia è breve: da prendere con cautela",
    ),
    "stale_long": (
        "The feeds that show it are silent: nobody knows whether it goes on.",
        "Le fonti che lo mostrano sono mute: non si sa se prosegua.",
    ),
    "not_part": ("Not affected", "Non coinvolti"),
    "team": ("Team", "Squadra"),
    "owner": ("Owner", "Responsabile"),
    "links": ("Links", "Collegamenti"),
    "minor": ("minor service: a warning at most", "servizio minore: al massimo un avviso"),
    "nobody_yet": ("Nobody looks after it yet.", "Nessuno se ne occupa ancora."),
    "acknowledged_by": ("Acknowledged by", "Preso in carico da"),
    "muted_by": ("Muted by", "Silenziato da"),
    "muted_until": ("until {time}", "scadenza {time}"),
    "muted_open": ("until unmuted", "finché non si riattiva"),
    "planned": ("Planned maintenance:", "Manutenzione programmata:"),
    "pages_nobody": ("it pages nobody.", "non chiama nessuno."),
    "ours": ("Is it ours?", "È nostro?"),
    "ours_no": ("Not ours: it is {about}.", "Non è nostro: è {about}."),
    "ours_broken": (
        "It cannot be told: an own service looks broken, too: {names}.",
        "Non si può dire: anche un nostro servizio sembra guasto: {names}.",
    ),
    "ours_unknown": ("It cannot be told whose it is.", "Non si può dire di chi sia."),
    "ours_cause": ("The incident it is about", "L'incidente di cui si parla"),
    "extra": ("Extra contacts", "Contatti in più"),
    "of_usual": ("{observed} where {expected} are usual", "{observed} contro {expected} usuali"),
    "about_it": ("About it", "Lo riguardano"),
    "shown.mentions": ("by what they mention", "da ciò che citano"),
    "shown.course": ("by their course", "dal loro andamento"),
    "an_hour": ("An hour, now", "All'ora, adesso"),
    "forecast": ("Forecast", "Previsione"),
    "in_the_end": ("extra contacts in the end", "contatti in più alla fine"),
    "cost": ("Cost so far", "Costo finora"),
    "cost_in_the_end": ("in the end {cost}", "alla fine {cost}"),
    "peak": ("Peak", "Picco"),
    "not_yet": ("not yet", "non ancora"),
    "voice_menu": ("For the voice menu", "Per il risponditore"),
    "for_agents": ("For agents", "Per gli operatori"),
    "counted_until": ("Counted until {time} UTC.", "Conteggio aggiornato: {time} UTC."),
    "why": ("Why it is as severe", "Perché è così grave"),
    "shares": ("Who and what", "Chi e che cosa"),
    "top_regions": ("Regions", "Regioni"),
    "top_services": ("Services", "Servizi"),
    "top_sources": ("Feeds", "Fonti"),
    "top_problems": ("Problems", "Problemi"),
    "share": ("Share", "Quota"),
    "usually": ("Usually", "Di solito"),
    "timeline": ("Timeline", "Cronologia"),
    "forgotten": ("1 step is not kept|{n} steps are not kept", "1 passo non conservato|{n} passi non conservati"),
    "parts_of_it": ("What it explains", "Che cosa spiega"),
    "earlier": ("Earlier incidents here", "Incidenti precedenti qui"),
    "excess": ("{n} reports beyond the usual", "{n} segnalazioni oltre il solito"),
    "change.opened": ("Detected as {to}", "Rilevato: {to}"),
    "change.reopened": ("Came back as {to}", "Tornato: {to}"),
    "change.severity": ("Now {to}", "Ora {to}"),
    "change.span": ("Now spans {to}", "Ora riguarda {to}"),
    "change.explained": ("Explained by incident", "Spiegato dall'incidente"),
    "change.alone": ("No longer explained by another", "Non più spiegato da un altro"),
    "change.acknowledged": ("Acknowledged", "Preso in carico"),
    "change.muted": ("Muted {to}", "Silenziato: {to}"),
    "change.unmuted": ("Unmuted", "Riattivato"),
    "change.planned": ("Planned maintenance: {to}", "Manutenzione programmata: {to}"),
    "change.unplanned": ("No longer within maintenance", "Non più in manutenzione"),
    "change.stale": ("Its feeds fell silent", "Le sue fonti tacciono"),
    "change.heard": ("Its feeds are back", "Le sue fonti sono tornate"),
    "change.resolved": ("Resolved", "Risolto"),
    "how.over": ("it is over", "è finito"),
    "how.by hand": ("by hand", "a mano"),
    "how.accepted as the new level": ("accepted as the new level", "accettato come nuovo livello"),
    "how.false alarm": ("a false alarm", "falso allarme"),
    "said_by": ("by {who}", "da {who}"),
    # What people may do
    "act": ("Act on it", "Intervieni"),
    "reason": ("Reason", "Motivo"),
    "reason_hint": ("What others should know, e.g. “calling them”", "Ciò che gli altri devono sapere"),
    "ack": ("Acknowledge", "Prendi in carico"),
    "mute": ("Mute", "Silenzia"),
    "mute_for": ("Mute for {age}", "Silenzia per {age}"),
    "mute_open": ("Mute until unmuted", "Silenzia finché non si riattiva"),
    "unmute": ("Unmute", "Riattiva"),
    "resolve": ("Resolve", "Risolvi"),
    "false-alarm": ("False alarm", "Falso allarme"),
    "act_note": (
        "Everybody who sees the incident sees your name and reason.",
        "Chi vede l'incidente vede il tuo nome e il motivo.",
    ),
    "told.done": ("Done: the incident shows it.", "Fatto: l'incidente lo mostra."),
    "told.sent": (
        "Sent, but no worker answered yet. It counts as soon as one gets there.",
        "Inviato, ma nessun worker ha ancora risposto. Varrà appena uno ci arriva.",
    ),
    # The page of a service
    "service_calm": ("No trouble now", "Nessun problema ora"),
    "service_trouble": ("In trouble: 1 incident|In trouble: {n} incidents", "1 incidente aperto|{n} incidenti aperti"),
    "now": ("Now", "Adesso"),
    "regions": ("Regions", "Regioni"),
    "state": ("State", "Stato"),
    "is_quiet": ("quiet", "tranquilla"),
    "last_trouble": ("Last trouble", "Ultimo problema"),
    "over_ones": ("Earlier incidents", "Incidenti precedenti"),
    "history_of": ("All of its history", "Tutto il suo storico"),
    # History
    "found": ("1 incident|{n} incidents", "1 incidente|{n} incidenti"),
    "any": ("any", "qualsiasi"),
    "kind": ("Kind", "Tipo"),
    "from": ("From (UTC)", "Da (UTC)"),
    "to": ("To (UTC)", "A (UTC)"),
    "filter": ("Filter", "Filtra"),
    "clear": ("Clear", "Azzera"),
    "contains": ("part of its name", "parte del nome"),
    "within": ("it, it/lazio …", "it, it/lazio …"),
    "at_least": ("{severity} or worse", "{severity} o peggio"),
    "not_understood": (
        "Not understood, so it filters nothing: {names}.",
        "Non compreso, quindi non filtra: {names}.",
    ),
    "nothing_found": ("No incident fits.", "Nessun incidente corrisponde."),
    "kept_note": (
        "Kept here: what is open, and the last {n} that are over.",
        "Qui sono conservati gli aperti e gli ultimi {n} conclusi.",
    ),
    "newer": ("Newer", "Più recenti"),
    "older": ("Older", "Più vecchi"),
    "page_of": ("Page {page} of {pages}", "Pagina {page} di {pages}"),
    "still_open": ("open", "aperto"),
    # Log-in, and what went wrong
    "login_title": ("Log in", "Accedi"),
    "login_why": (
        "With a token you may acknowledge, mute and resolve incidents. Without one you see everything.",
        "Con un token puoi prendere in carico, silenziare e risolvere. Senza, vedi comunque tutto.",
    ),
    "token": ("Token", "Token"),
    "login_wrong": ("No such token.", "Token sconosciuto."),
    "refused": ("Not allowed", "Non permesso"),
    "not_found": ("Not found", "Non trovato"),
    "failed": ("It did not work", "Non ha funzionato"),
    "back": ("To the overview", "Alla situazione"),
    "back_to_incident": ("Back to the incident", "Torna all'incidente"),
    "no_incident": (
        "No incident of this id is kept. It may be older than what is kept here.",
        "Non è conservato alcun incidente con questo id. Potrebbe essere troppo vecchio.",
    ),
    "no_service": (
        "No incident of this service is kept, and the catalogue does not name it.",
        "Di questo servizio non è conservato alcun incidente e il catalogo non lo nomina.",
    ),
    "no_page": ("There is no such page.", "Questa pagina non esiste."),
    "who_are_you": ("Log in first, then say it again.", "Prima accedi, poi ripeti."),
    "read_only": (
        "This page is read-only: settings name neither tokens nor a proxy that says who you are.",
        "Questa pagina è in sola lettura: le impostazioni non indicano né token né un proxy che dica chi sei.",
    ),
    "cross_site": (
        "The request did not come from this page, or the page is too old. Load it again and repeat.",
        "La richiesta non viene da questa pagina, o la pagina è troppo vecchia. Ricaricala e ripeti.",
    ),
    "is_resolved": ("The incident is resolved already.", "L'incidente è già risolto."),
    "kafka_away": (
        "Kafka did not take the command in time. Try again; groundswell check says what is wrong.",
        "Kafka non ha accettato il comando in tempo. Riprova; groundswell check dice che cosa non va.",
    ),
    "bad_command": ("This cannot be said of an incident: {detail}", "Questo non si può dire: {detail}"),
}

_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "it": ("gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"),
}
#: Seconds, minutes, hours, days, years; live.js is told them.
_UNITS = {"en": "s min h d y", "it": "s min h g a"}
_SWAPPED = str.maketrans(",.", ".,")
_WEIGHT = re.compile(r"^\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?$")


class Language(enum.StrEnum):
    """What the page speaks."""

    ENGLISH = "en"
    ITALIAN = "it"

    @property
    def own_name(self) -> str:
        """As those who speak it call it."""
        return "Italiano" if self is Language.ITALIAN else "English"


class Texts:
    """The texts of one language.

    >>> Texts(Language.ITALIAN)("in_trouble", n=3)
    '3 servizi con problemi'
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self.units = _UNITS[language]
        self._place = list(Language).index(language)

    def __call__(self, key: str, /, **fields: object) -> str:
        """The text of `key`, with its fields put in. Numbers are written as the language does. KeyError: no such."""
        text = _TEXTS[key][self._place]
        if "|" in text:
            one, _, other = text.partition("|")
            text = one if fields["n"] == 1 else other
        return text.format(**{name: self.count(v) if isinstance(v, int) else v for name, v in fields.items()})

    def word(self, kind: str, value: str) -> str:
        """The word for a value of a closed set, such as a severity; the value itself where a record has another one."""
        pair = _TEXTS.get(f"{kind}.{value}")
        return value if pair is None else pair[self._place]

    def count(self, value: int) -> str:
        """A whole number, with its thousands apart."""
        return self._local(f"{value:,}")

    def number(self, value: float) -> str:
        """A number as exactly as people read it: one digit after the point below ten."""
        return self._local(f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}")

    def percent(self, share: float) -> str:
        """A share in parts of a hundred."""
        return f"{self.number(round(100 * share)) if share >= 0.1 or share <= 0 else self.number(100 * share)} %"

    def age(self, seconds: float) -> str:
        """A span of time in its two largest units; live.js has the same.

        >>> texts = Texts(Language.ENGLISH)
        >>> texts.age(42), texts.age(125), texts.age(3 * 3600 + 12 * 60), texts.age(400 * 86400)
        ('42 s', '2 min', '3 h 12 min', '1 y 35 d')
        """
        second, minute, hour, day, year = self.units.split()
        whole = max(int(seconds), 0)
        if whole < 60:
            return f"{whole} {second}"
        if whole < 3600:
            return f"{whole // 60} {minute}"
        if whole < 86_400:
            big, small, unit, rest = whole // 3600, whole % 3600 // 60, hour, minute
        elif whole < 365 * 86_400:
            big, small, unit, rest = whole // 86_400, whole % 86_400 // 3600, day, hour
        else:
            big, small, unit, rest = whole // 86_400 // 365, whole // 86_400 % 365, year, day
        return f"{big} {unit}" + (f" {small} {rest}" if small else "")

    def month(self, number: int) -> str:
        """The short name of a month, 1 to 12."""
        return _MONTHS[self.language][number - 1]

    def _local(self, number: str) -> str:
        return number.translate(_SWAPPED) if self.language is Language.ITALIAN else number


TEXTS = {language: Texts(language) for language in Language}


def chosen(asked: str | None, kept: str | None, accepted: str) -> Language:
    """The language to speak: that asked for in the URL, else that of the cookie, else the browser's best.

    >>> chosen(None, None, "fr-FR, it-IT;q=0.8, en;q=0.5").value, chosen("en", "it", "").value
    ('it', 'en')
    """
    for said in (asked, kept):
        if said in set(Language):
            return Language(said)
    best, weight = Language.ENGLISH, 0.0
    for part in accepted[:500].split(","):
        match = _WEIGHT.match(part)
        if match and match[1].lower() in set(Language) and float(match[2] or 1) > weight:
            best, weight = Language(match[1].lower()), float(match[2] or 1)
    return best
