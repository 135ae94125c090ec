// Command bucketseal is an S3 encryption proxy in front of MinIO and a
// KES-compatible key server.
//
// This package builds the tree of commands: those of the proxy are in proxycmd, those of
// keys and the key server in keycmd, KES's own command lines in kescmd. They put packages
// together with build, and run servers with serve.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal has begun a graceful end, a second one ends at once.
	context.AfterFunc(ctx, stop)
	code := runAs(ctx, os.Args[0], os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
	stop()
	os.Exit(code)
}
