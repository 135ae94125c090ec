// Command chaos tests bucketseal as a black box: a cluster, clients, faults, and a checker that knows what every
// answer may be. It imports nothing of the product.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `chaos run     run clients and faults against a cluster, and check everything
chaos minio   the same at MinIO alone, to tell whose fault a violation is
chaos check   check a history again: chaos check FILE
chaos plan    print the faults of a seed
chaos plant   find faults that are planted into the product: chaos plant [NAME...]
chaos load    hold a load for long, or a bucket of many objects: chaos load held, chaos load many
chaos build   build the product with a clock that can be set: chaos load    hold a load for long, or a bucket of many objects: chaos load held, chaos load many
chaos build -source DIR -o FILE, or -command github.com/minio/minio@VERSION -o FILE

"chaos run -h" lists the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := dispatch(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	good      = 0
	violated  = 1
	misused   = 2
	undecided = 3 // it could not be run, or not to its end
)

func dispatch(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, []string) (int, error){
		"run":   func(ctx context.Context, args []string) (int, error) { return runCommand(ctx, args, false) },
		"minio": func(ctx context.Context, args []string) (int, error) { return runCommand(ctx, args, true) },
		"plan":  planCommand, "build": buildCommand, "check": checkCommand, "plant": plantCommand,
		"load": loadCommand,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(os.Stderr, usage)
		return misused
	}
	code, err := commands[args[0]](ctx, args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	return code
}
