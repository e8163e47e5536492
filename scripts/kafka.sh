#!/usr/bin/env bash
# One node of Apache Kafka on loopback, for tests, the example and benchmarks: small, without security, gone when told.
#   scripts/kafka.sh start DIR PORT     formats DIR if it is new, starts the node, waits until it answers
#   scripts/kafka.sh stop DIR           stops it in order
#   scripts/kafka.sh kill DIR           kills it hard (SIGKILL)
#   scripts/kafka.sh restart DIR PORT   stop, then start
# DIR keeps the data, broker.log and the process id. The controller listens on PORT + 1,
# PORT + 2 wants a login (SASL PLAIN: tester, tester-password), and PORT + 3 is for TLS, with a
# certificate of its own that is in DIR/certificate.pem. Where KAFKA_OWNER is set, the node ends
# with the process of that id, and DIR goes with it. Its code is compiled quickly rather than well,
# as tests are short; KAFKA_JIT= (empty) lets the compiler take its time, for minutes of load.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
libs=$here/.sembla/kafka/libs

usage() {
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# Whether the process of the pid file is there, and is this node's: an old file may name another process.
running() {
  local pid
  [ -f "$dir/pid" ] && pid=$(cat "$dir/pid") && kill -0 "$pid" 2> /dev/null || return 1
  [ ! -r "/proc/$pid/cmdline" ] || grep -qaF "$dir/server.properties" "/proc/$pid/cmdline"
}

# Whether something listens on a port of this machine.
answers() {
  (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# Becomes a Java program of Kafka: the shell that calls this is replaced, so its process id is Java's.
become_kafka() {
  exec java -Xms128m -Xmx"${KAFKA_HEAP:-384m}" -XX:+UseSerialGC ${KAFKA_JIT--XX:TieredStopAtLevel=1} -Xshare:auto \
    -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dlog4j2.level=WARN -cp "$libs/*" "$@"
}

write_settings() {
  cat > "$dir/server.properties" <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1)),LOGIN://127.0.0.1:$((port + 2)),TLS://127.0.0.1:$((port + 3))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,LOGIN://127.0.0.1:$((port + 2)),TLS://127.0.0.1:$((port + 3))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SSL
inter.broker.listener.name=PLAINTEXT
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_tester="tester-password";
listener.name.tls.ssl.keystore.type=PKCS12
listener.name.tls.ssl.keystore.location=$dir/broker.p12
listener.name.tls.ssl.keystore.password=of-a-test
listener.name.tls.ssl.key.password=of-a-test
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=20971520
replica.fetch.max.bytes=20971520
num.network.threads=2
num.io.threads=2
SETTINGS
}

# A key and a certificate for 127.0.0.1 that nobody else has signed.
certify() {
  [ ! -f "$dir/certificate.pem" ] || return 0
  local store=(-keystore "$dir/broker.p12" -storetype PKCS12 -storepass of-a-test -alias broker)
  keytool -genkeypair "${store[@]}" -keyalg EC -validity 3650 -dname CN=127.0.0.1 -ext SAN=ip:127.0.0.1 2> /dev/null
  keytool -exportcert -rfc "${store[@]}" > "$dir/certificate.pem" 2> /dev/null
}

start() {
  "$here/scripts/fetch-kafka.sh"
  if running; then
    echo "a broker runs in $dir already" >&2
    exit 1
  fi
  mkdir -p "$dir"
  certify
  write_settings
  if [ ! -d "$dir/data" ]; then
    (become_kafka kafka.tools.StorageTool format --standalone --cluster-id "$(cluster_id)" \
      --config "$dir/server.properties") > "$dir/format.log" 2>&1 || {
      tail -n 5 "$dir/format.log" >&2
      exit 1
    }
  fi
  if answers "$port"; then
    echo "port $port is taken, so no broker can start in $dir" >&2
    exit 1
  fi
  become_kafka kafka.Kafka "$dir/server.properties" > "$dir/broker.log" 2>&1 < /dev/null &
  local pid=$!
  echo "$pid" > "$dir/pid"
  if [ -n "${KAFKA_OWNER:-}" ]; then
    watch_owner "$pid" > /dev/null 2>&1 < /dev/null &
  fi
  for _ in $(seq 600); do
    kill -0 "$pid" 2> /dev/null || break
    if answers "$port"; then
      return
    fi
    sleep 0.1
  done
  echo "the broker did not start; the end of $dir/broker.log:" >&2
  tail -n 5 "$dir/broker.log" >&2
  exit 1
}

# Waits until the node or its owner is gone.
watch_owner() {
  while kill -0 "$KAFKA_OWNER"; do
    kill -0 "$1" || return 0
    sleep 1
  done
  kill -KILL "$1"
  for _ in $(seq 50); do
    kill -0 "$1" || break
    sleep 0.1
  done
  rm -rf "$dir"
}

# 16 random bytes in URL-safe base64, as Kafka wants them.
cluster_id() {
  head -c 16 /dev/urandom | base64 | tr '+/' 'AA' | tr -d '='
}

# The port that the node was started on.
port_of() {
  sed -n 's|^listeners=PLAINTEXT://127.0.0.1:\([0-9]*\),.*|\1|p' "$dir/server.properties" 2> /dev/null || true
}

# Sends a signal, and waits until the process is gone and its port is closed. A node that does not
# end in order within a minute is killed.
end() {
  local pid at
  at=$(port_of)
  if running; then
    pid=$(cat "$dir/pid")
    kill "-$1" "$pid"
    for _ in $(seq 1200); do
      running || break
      sleep 0.05
    done
    if running; then
      kill -KILL "$pid"
      while running; do sleep 0.05; done
    fi
  fi
  rm -f "$dir/pid"
  for _ in $(seq 200); do
    [ -n "$at" ] && answers "$at" || return 0
    sleep 0.05
  done
  if answers "$at"; then
    echo "the broker of $dir has ended, but port $at still answers" >&2
    exit 1
  fi
}

[ $# -ge 2 ] || usage
command=$1
dir=$(mkdir -p "$2" && cd "$2" && pwd)
port=${3:-}
case "$command" in
  start | restart)
    [ -n "$port" ] || usage
    [ "$command" = start ] || end TERM
    start
    ;;
  stop) end TERM ;;
  kill) end KILL ;;
  *) usage ;;
esac
