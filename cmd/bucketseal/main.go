// Command bucketseal is an S3 encryption proxy in front of MinIO and a
// KES-compatible key server.
//
// Every command is a file of this package. They only put packages together.
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
