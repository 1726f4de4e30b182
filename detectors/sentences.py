"""Sentences: what the voice menu says and what agents are told, from templates that users can change."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

#: What a template may name, each with an example.
FIELDS = {
    "service": "WhatsApp",
    "since": "09:02",
    "times": "12",
    "share": "85 %",
    "extra": "41,200",
}

VOICE_MENU = {
    "en": (
        "Since {since} many people have had trouble with {service}. It is not a fault of ours, and we cannot mend it."
        " If you call because of {service}, please wait until its provider has solved it;"
        " for anything else stay on the line."
    ),
    "it": (
        "Dalle {since} molti utenti segnalano problemi con {service}. Il guasto non dipende da noi e non possiamo"
        " risolverlo. Se chiami per {service}, attendi che il suo fornitore lo risolva; per altre richieste resta in"
        " linea."
    ),
}
AGENTS = {
    "en": (
        "{service} has been in trouble since {since}, with {times} times the usual reports; {share} of the {extra}"
        " extra contacts are about it. Our own services show no fault: tell callers so, and open no ticket."
    ),
    "it": (
        "{service} ha problemi dalle {since}, con {times} volte le segnalazioni abituali; {share} dei {extra} contatti"
        " in più la riguardano. I nostri servizi funzionano: ditelo a chi chiama e non aprite segnalazioni."
    ),
}


def check(templates: Mapping[str, str], setting: str) -> None:
    """ValueError where a template names what there is not, or is broken."""
    known = ", ".join("{" + name + "}" for name in FIELDS)
    for language, template in templates.items():
        try:
            names = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template)]
        except ValueError as error:
            raise ValueError(f"{setting}.{language}: {error}; write {{{{ for a brace") from None
        for name, spec, conversion in names:
            if name is not None and (name not in FIELDS or spec or conversion):
                raise ValueError(f"{setting}.{language} names {{{name}}}; there are {known}")


def fill(templates: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The sentences by language. values: of each of FIELDS."""
    return {language: template.format_map(values) for language, template in sorted(templates.items())}
