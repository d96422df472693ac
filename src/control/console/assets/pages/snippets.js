// What to paste into each shipper. `url` is the listener's address without a path, `token` the shipping token, `type` the
// name under which the logs are found.

const host = (url) => new URL(url).hostname;
const tls = (url) => new URL(url).protocol === "https:";
const port = (url) => new URL(url).port || (tls(url) ? "443" : "80");
const path = ({ token, type }) => `/?token=${token}&type=${type}`;
const whole = (to) => `${to.url}${path(to)}`;

// Each: { id, name, file, before?, text(to) }, and of two halves { after, moreFile, more(to) }.
export const SHIPPERS = [
  {
    id: "curl",
    name: "curl",
    before: "Ship one log and see the answer: 200 means that it is on disk.",
    file: "shell",
    text: (to) => `curl -i "${whole(to)}" \\
  --data-binary '{"message":"hello from curl"}'`,
    after: "A file of newline-separated JSON goes the same way: --data-binary @logs.ndjson",
  },
  {
    id: "filebeat",
    name: "Filebeat",
    file: "filebeat.yml",
    before: "Filebeat cannot post to an HTTP listener by itself; it hands its logs to a Logstash beside it, which does. This is Filebeat's half:",
    text: () => `filebeat.inputs:
  - type: filestream
    id: my-logs
    paths:
      - /var/log/*.log

output.logstash:
  hosts: ["127.0.0.1:5044"]`,
    after: "And this is Logstash's half:",
    moreFile: "/etc/logstash/conf.d/shipgate.conf",
    more: (to) => logstash(to, `beats { port => 5044 host => "127.0.0.1" }`),
  },
  {
    id: "fluent-bit",
    name: "Fluent Bit",
    file: "fluent-bit.yaml",
    text: (to) => `pipeline:
  inputs:
    - name: tail
      path: /var/log/*.log
  outputs:
${fluentBitOutput(to)}`,
  },
  {
    id: "fluentd",
    name: "Fluentd",
    file: "fluent.conf",
    text: (to) => `<source>
  @type tail
  path /var/log/app.log
  pos_file /var/lib/fluentd/app.pos
  tag app
  <parse>
    @type none
    message_key message
  </parse>
</source>

<match **>
  @type http
  endpoint ${whole(to)}
  json_array false
  content_type application/x-ndjson
  retryable_response_codes 429,503
  <format>
    @type json
  </format>
  <buffer>
    flush_interval 2s
    chunk_limit_size 4m
  </buffer>
</match>`,
  },
  {
    id: "logstash",
    name: "Logstash",
    file: "shipgate.conf",
    text: (to) => logstash(to, `file { path => "/var/log/*.log" }`),
  },
  {
    id: "vector",
    name: "Vector",
    file: "vector.yaml",
    text: (to) => `sources:
  my_logs:
    type: file
    include:
      - /var/log/*.log

sinks:
  shipgate:
    type: http
    inputs: [my_logs]
    uri: "${to.url}/?type=${to.type}"
    auth:
      strategy: bearer
      token: "${to.token}"
    compression: gzip
    encoding:
      codec: json
    framing:
      method: newline_delimited
    batch:
      max_bytes: 4000000`,
  },
  {
    id: "otel",
    name: "OpenTelemetry Collector",
    file: "collector.yaml",
    before: "The collector speaks OTLP. A Fluent Bit beside it takes that and posts newline-separated JSON. This is the collector's half:",
    text: () => `receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 0.0.0.0:4317

exporters:
  otlphttp:
    endpoint: http://127.0.0.1:4319

service:
  pipelines:
    logs:
      receivers: [otlp]
      exporters: [otlphttp]`,
    after: "And this is Fluent Bit's half:",
    moreFile: "fluent-bit.yaml",
    more: (to) => `pipeline:
  inputs:
    - name: opentelemetry
      listen: 127.0.0.1
      port: 4319
  outputs:
${fluentBitOutput(to)}`,
  },
  {
    id: "rsyslog",
    name: "rsyslog",
    file: "/etc/rsyslog.d/90-shipgate.conf",
    before: "Needs the module omhttp (package rsyslog-omhttp, or rsyslog's own packages).",
    text: (to) => `module(load="omhttp")

template(name="shipgate" type="list" option.jsonf="on") {
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="program" name="programname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}

action(
  type="omhttp"
  server="${host(to.url)}"
  serverport="${port(to.url)}"
  restpath="?token=${to.token}&type=${to.type}"
  usehttps="${tls(to.url) ? "on" : "off"}"
  template="shipgate"
  batch="on"
  batch.format="newline"
  batch.maxsize="500"
  retry="on"
  action.resumeRetryCount="-1"
)`,
  },
  {
    id: "syslog-ng",
    name: "syslog-ng",
    file: "/etc/syslog-ng/conf.d/shipgate.conf",
    before: "Needs the module http (Debian: syslog-ng-mod-http).",
    text: (to) => `destination d_shipgate {
  http(
    url("${whole(to)}")
    method("POST")
    headers("Content-Type: application/json")
    body("$(format-json --pair @timestamp=$ISODATE --pair host=$HOST --pair level=$LEVEL --pair program=$PROGRAM --pair message=$MSG)")
    delimiter("\\n")
    batch-lines(500)
    batch-timeout(1000)
    workers(2)
    response-action(401 => drop)
  );
};

log {
  source(s_src);
  destination(d_shipgate);
};`,
  },
  {
    id: "python",
    name: "Python",
    before: "Install the library with pip install logzio-python-handler.",
    file: "app.py",
    text: (to) => `import logging
from logzio.handler import LogzioHandler

handler = LogzioHandler("${to.token}", logzio_type="${to.type}", url="${to.url}")
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.INFO)

logging.info("hello from Python")`,
  },
  {
    id: "nodejs",
    name: "Node.js",
    before: "Install the library with npm install logzio-nodejs.",
    file: "app.js",
    text: (to) => `const logger = require("logzio-nodejs").createLogger({
  token: "${to.token}",
  type: "${to.type}",
  protocol: "${tls(to.url) ? "https" : "http"}",
  host: "${host(to.url)}",
  port: "${port(to.url)}",
});

logger.log({ message: "hello from Node.js" });
logger.sendAndClose();`,
  },
];

const fluentBitOutput = (to) => `    - name: http
      match: "*"
      host: ${host(to.url)}
      port: ${port(to.url)}
      tls: ${tls(to.url) ? "on" : "off"}
      uri: ${path(to)}
      format: json_lines
      json_date_key: "@timestamp"
      json_date_format: iso8601
      compress: gzip
      retry_limit: no_limits`;

const logstash = (to, input) => `input {
  ${input}
}

output {
  http {
    url => "${whole(to)}"
    http_method => "post"
    format => "json"
    retryable_codes => [429, 500, 502, 503, 504]
  }
}`;
