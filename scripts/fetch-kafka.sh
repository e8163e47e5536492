#!/usr/bin/env bash
# Fetches Apache Kafka's broker (Apache-2.0) and what it needs at run time from Maven Central into .sembla/kafka/libs.
# Tests of streams, the example with Kafka and benchmarks want it; the product does not: it speaks to any broker.
# Once fetched nothing is downloaded again.
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.3.1
folder=.sembla/kafka

if [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
  exit 0
fi
for tool in java mvn; do
  if ! command -v "$tool" > /dev/null; then
    echo "fetch-kafka.sh needs '$tool'; install a Java runtime (17 or newer) and Apache Maven, for instance" \
      "with 'apt-get install openjdk-17-jre-headless maven'" >&2
    exit 1
  fi
done

echo "fetching Apache Kafka $version" >&2
rm -rf "$folder/libs.part"
mkdir -p "$folder/libs.part"
cat > "$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sembla</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
if ! mvn --batch-mode --quiet --file "$folder/pom.xml" dependency:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$PWD/$folder/libs.part" >&2; then
  echo "Apache Kafka $version could not be fetched; Maven needs Maven Central or a mirror of it" >&2
  exit 1
fi
rm -rf "$folder/libs"
mv "$folder/libs.part" "$folder/libs"
echo "$version" > "$folder/version"
