"""Reads a configuration from standard input with a parser of its language, and prints what it says as JSON."""

import json
import sys

text, language = sys.stdin.read(), sys.argv[1]
if language == "yaml":
    import yaml

    found = yaml.safe_load(text)
else:
    from logstash_pipeline_parser import Pipeline

    found = Pipeline(text).parse()
print(json.dumps(found, default=str))
