package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/clock"
	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/nemesis"
)

// options are the flags of "run" and "minio".
type options struct {
	cluster  cluster.Config
	seed     uint64
	duration time.Duration
	clients  int
	faults   []string
	settle   time.Duration
	pause    time.Duration
	markdown string
}

// parse reads the flags and finds what they leave out.
func parse(args []string, bare bool) (options, error) {
	var o options
	c := &o.cluster
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 0, "same seed, same schedule; 0 for one that is drawn and printed")
	flags.DurationVar(&o.duration, "duration", 2*time.Hour, "how long clients and faults go on")
	flags.IntVar(&o.clients, "clients", 64, "how many clients there are")
	faults := flags.String("faults", "all", "all, ours (without those after which MinIO alone breaks promises), none, or names with commas between: "+strings.Join(nemesis.Kinds(), " "))
	storage := flags.String("storage", "four", "one: a MinIO with four drives; four: MinIOs with one each")
	flags.StringVar(&c.World, "world", "", "processes, or namespaces, which needs root; the latter where it can be had")
	flags.StringVar(&c.Bucketseal, "bin", "../.bin/bucketseal", "the product")
	flags.StringVar(&c.Upgrade, "from", "", "another binary of it, that proxies are upgraded from; -bin if not given")
	flags.BoolVar(&c.Clocked, "clocked", false, "-bin was built by \"chaos build\"")
	flags.BoolVar(&c.MinIOClocked, "minio-clocked", false, "-minio was built by \"chaos build\"")
	flags.StringVar(&c.MinIO, "minio", "../.bin/minio", "MinIO")
	flags.StringVar(&c.MC, "mc", "../.bin/mc", "mc")
	flags.StringVar(&c.HAProxy, "haproxy", found("haproxy"), "haproxy; without, a balancer of this program's own takes its place")
	flags.StringVar(&c.Dir, "out", "", "an empty or new folder for data, logs, history and summary; a temporary one if not given")
	flags.IntVar(&c.DriveMiB, "drive", 0, "MiB of each MinIO's drive, in namespaces; 4096, and 512 for each minute, if not given")
	flags.DurationVar(&o.settle, "settle", 2*time.Minute, "how long the proxies may take to let go of what they held")
	flags.DurationVar(&o.pause, "pause", 50*time.Millisecond, "how long a client waits between two operations, about")
	flags.StringVar(&o.markdown, "markdown", "", "write the summary as a table to this file too")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	c.Bare = bare
	if *storage != "one" && *storage != "four" {
		return o, fmt.Errorf("no storage is named %s", *storage)
	}
	c.OneMinIO = *storage == "one"
	if c.DriveMiB == 0 { // 64 clients fill 4 GiB in a quarter of an hour
		c.DriveMiB = 4096 + 512*int(o.duration.Minutes())
	}
	o.faults = strings.Split(*faults, ",")
	if unknown := nemesis.Unknown(o.faults); len(unknown) > 0 {
		return o, fmt.Errorf("no faults are named %s", strings.Join(unknown, ", "))
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) //nolint:gosec // no secret
	}
	c.Seed = o.seed
	if c.World == "" {
		c.World = cluster.Best()
	}
	if c.Upgrade == "" {
		c.Upgrade = c.Bucketseal
	}
	return o, o.place()
}

// place makes the folder, and paths absolute: servers run elsewhere.
func (o *options) place() error {
	c := &o.cluster
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "chaos-")
		if err != nil {
			return err
		}
		c.Dir = dir
	}
	if entries, err := os.ReadDir(c.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", c.Dir)
	}
	for _, path := range []*string{&c.Dir, &c.Bucketseal, &c.Upgrade, &c.MinIO, &c.MC} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	programs := []string{c.Bucketseal, c.Upgrade, c.MinIO, c.MC}
	if c.Bare {
		programs = programs[2:]
	}
	for _, program := range programs {
		if _, err := os.Stat(program); err != nil {
			return err
		}
	}
	return os.MkdirAll(c.Dir, 0o700)
}

// found is a program's path, "" if there is none. Debian has some where only root looks.
func found(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func runCommand(ctx context.Context, args []string, bare bool) (int, error) {
	o, err := parse(args, bare)
	if err != nil {
		return misused, err
	}
	return run(ctx, o)
}

// planCommand prints what a seed has in store for a cluster of which every fault is possible.
func planCommand(_ context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("plan", flag.ContinueOnError)
	seed := flags.Uint64("seed", 1, "the seed")
	duration := flags.Duration("duration", 2*time.Hour, "how long the run is")
	if err := flags.Parse(args); err != nil {
		return misused, err
	}
	for _, p := range nemesis.New(cluster.Sketch(), *seed, []string{"all"}).Plan(*duration) {
		fmt.Printf("%9v %9v  %-8s %-20s %s\n", p.At.Round(time.Millisecond), p.For.Round(time.Millisecond), p.Lane, p.Kind, p.Detail)
	}
	return good, nil
}

func buildCommand(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	source := flags.String("source", "..", "the product's module")
	command := flags.String("command", "", "build this in place of the product, as in github.com/minio/minio@VERSION")
	out := flags.String("o", "../.bin/bucketseal-clocked", "the file to write")
	if err := flags.Parse(args); err != nil {
		return misused, err
	}
	var err error
	if *command != "" {
		err = clock.Install(ctx, *command, *out)
	} else {
		err = clock.Build(ctx, *source, *out)
	}
	if err != nil {
		return undecided, err
	}
	return good, nil
}
