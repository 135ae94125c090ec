// Package check parses docker-compose.yml with Compose's own library and holds it to the binary, to
// the files that it mounts and to the proxies' settings. It is a module of its own: nothing of
// Compose is in the product's go.mod. `make compose-check` runs it.
package check
