// Command benchmark says what bucketseal costs: it starts MinIO, MinIO encrypting
// by itself, a plain reverse proxy and bucketseal on loopback, drives the same
// requests at all of them by turns, and compares rates, latencies and processor
// times. `make bench` runs it; docs/performance.md says what its columns mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: benchmark [COMMAND] [FLAG...]

  run       drive the requests and compare (what happens without a command)
  bounds    memory with many transfers or connections, the start, ranges (also part of run)
  profile   drive one of them at bucketseal and collect profiles
  proxy     be the plain reverse proxy; run starts it

BUCKETSEAL_BIN and MINIO_BIN name the programs that are started. To compare two builds of
bucketseal by turns, name the other one with BUCKETSEAL_OLD_BIN:

  benchmark run -targets proxy,seal-s3,old-s3 -works get-4k-*,put-1m-16
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, args := "run", os.Args[1:]
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "run":
		err = runCommand(ctx, args)
	case "bounds":
		err = boundsCommand(ctx, args)
	case "profile":
		err = profileCommand(ctx, args)
	case "proxy":
		err = proxyCommand(ctx, args)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}
