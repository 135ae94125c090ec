// Command bucketseal is an S3 encryption proxy in front of MinIO and a
// KES-compatible key server.
//
// This package builds the tree of commands: those of the proxy are in proxycmd, those of
// keys and the key server in keycmd, KES's own command lines in kescmd. They put packages
// together with build, and run servers with serve.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal has begun a graceful end, a second one ends at once.
	context.AfterFunc(ctx, stop)
	environ, err := cli.WithCredentials(os.Environ())
	if err == nil {
		err = cli.CheckFIPS()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bucketseal:", err)
		os.Exit(1)
	}
	code := runAs(ctx, os.Args[0], os.Args[1:], os.Stdin, os.Stdout, os.Stderr, environ)
	stop()
	os.Exit(code)
}
