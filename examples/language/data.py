#!/usr/bin/env python3
"""Turns Django's translations into the texts that the language model is trained, calibrated and judged
on; needs NumPy and Django's files (Debian: python3-django; the module is found, not run).

    data.py FOLDER    writes calibration.npz and heldout.npz (ids i64 [n,65], mask f32 [n,65]) and,
                      beside them, calibration-labels.npy and heldout-labels.npy (i64 [n])

A text is a message of the user interface in one of 20 languages, without placeholders and markup, in
lower case, cut to 64 bytes of UTF-8. A hash of the English message says which split all its translations
are in, so that no message is in two; another release of Django moves none. A text that occurs in
two languages is left out; one that occurs in two splits (two messages may be translated alike), or as
some words of a training text, is in none but training.

Token 0 is padding, token 1 starts a text, and the others are hashes of each three bytes in a row."""
import collections
import gettext
import glob
import hashlib
import importlib.util
import os
import re
import sys

import numpy as np

LANGUAGES = ["cs", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "lt", "lv", "nl", "pl",
             "pt", "ro", "sv", "tr"]
BUCKETS, BYTES, SHORTEST = 2048, 64, 10


def django_folder():
    found = importlib.util.find_spec("django")
    if not found or not found.submodule_search_locations:
        print("error: no Django to take texts from (Debian: apt-get install python3-django)", file=sys.stderr)
        sys.exit(2)
    return found.submodule_search_locations[0]


def cleaned(message):
    message = re.sub(r"%\(\w+\)[a-z]|%[a-z]|\{\w*\}|<[^>]*>|&\w+;|https?://\S+", " ", message)
    message = re.sub(r"[^\w' -]|\d", " ", message.lower())
    text = " ".join(message.split()).encode()[:BYTES]
    return text.decode(errors="ignore").strip()


def split_of(message):
    share = hashlib.sha256(message.encode()).digest()[0] / 256
    return "training" if share < 0.7 else "calibration" if share < 0.85 else "heldout"


def messages(language):
    """{English message: translation}, of all parts of Django; plurals as their first form."""
    folder, found = django_folder(), {}
    for path in sorted(glob.glob(f"{folder}/**/locale/{language}/LC_MESSAGES/*.mo", recursive=True)):
        with open(path, "rb") as file:
            catalog = gettext.GNUTranslations(file)._catalog
        for key, value in catalog.items():
            key = key if isinstance(key, str) else key[0]
            found.setdefault(key.split("\x04")[-1], value)  # \x04 ends a context
    return found


def texts():
    """{split: [(text, language's index)]}, sorted."""
    places = collections.defaultdict(set)
    for label, language in enumerate(LANGUAGES):
        source = "de" if language == "en" else language
        for key, value in messages(source).items():
            text = cleaned(key if language == "en" else value)
            if len(text) >= SHORTEST and (language == "en" or value != key):
                places[text].add((split_of(key), label))
    splits = {"training": [], "calibration": [], "heldout": []}
    for text in sorted(places):
        labels = {label for _, label in places[text]}
        names = {name for name, _ in places[text]}
        if len(labels) == 1:
            name = "training" if len(names) > 1 else names.pop()
            splits[name].append((text, labels.pop()))
    trained = "\n".join(f" {text} " for text, _ in splits["training"])
    for name in ("calibration", "heldout"):
        splits[name] = [row for row in splits[name] if f" {row[0]} " not in trained]
    return splits


def tokens(text):
    data = b" " + text.encode() + b" "
    return [1] + [2 + (a * 65599 + b * 257 + c) % 4093 % (BUCKETS - 2)
                  for a, b, c in zip(data, data[1:], data[2:])]


def padded(rows):
    """(ids i64, mask f32), both [rows, longest]."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, line in zip(ids, rows):
        row[:len(line)] = line
    return ids, (ids != 0).astype(np.float32)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    splits = texts()
    for name in ("calibration", "heldout"):
        ids, mask = padded([tokens(text) for text, _ in splits[name]])
        np.savez(os.path.join(folder, f"{name}.npz"), ids=ids, mask=mask)
        labels = np.array([label for _, label in splits[name]], np.int64)
        np.save(os.path.join(folder, f"{name}-labels.npy"), labels)


if __name__ == "__main__":
    main()
