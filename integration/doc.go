// Package integration holds black-box tests: the built bucketseal binary in
// front of a real MinIO, spoken to by real clients. It imports nothing of
// bucketseal's own packages; what it knows is the wire, the command line and
// the documented behaviour.
//
//	make build tools
//	BUCKETSEAL_BIN=$PWD/.bin/bucketseal go test ./integration
//
// Environment:
//
//	BUCKETSEAL_BIN          the binary under test; built once if not set
//	MINIO_BIN, MC_BIN       MinIO and mc; .bin/minio and .bin/mc if not set
//	BUCKETSEAL_TEST_TARGET  "minio" runs the tests against a MinIO that encrypts
//	                        by itself, to prove their expectations; tests of what
//	                        only the proxy does are skipped then
package integration
