package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/history"
	"github.com/bucketseal/bucketseal/chaos/workload"
)

// Names of files in a run's folder.
const historyFile = "history.jsonl"

// For how long after its deletion a KMS key may serve (docs/keys.md): eight seconds; where another key server has it
// in its cache as long as its setting "any" says, and where servers do not answer, or stand still, longer.
const (
	keyGrace         = 9 * time.Second
	keyGraceOfTwo    = keyGrace + 20*time.Second
	keyGraceInFaults = 5 * time.Minute
)

// mostSecrets is how many secrets of clients the logs are searched for.
const mostSecrets = 100

// clients are those of a run, with their history.
type clients struct {
	config workload.Config
	file   *os.File

	mu      sync.Mutex
	secrets map[string]string
}

func newClients(c *cluster.Cluster, o options) (*clients, error) {
	f, err := os.Create(filepath.Join(c.Dir, historyFile))
	if err != nil {
		return nil, err
	}
	l := &clients{file: f, secrets: map[string]string{}}
	l.config = workload.Config{
		Seed: o.seed, Clients: o.clients, Duration: o.duration, Keys: c.Keys, Dir: c.Dir, Pause: o.pause, Logf: o.cluster.Logf,
		Record: history.New(f), Programs: map[string]string{"mc": o.cluster.MC, "python3": found("python3"), "rclone": found("rclone")},
		OnSecret: l.note, KeyGrace: keyGrace,
	}
	switch {
	case !slices.Equal(o.faults, []string{"none"}):
		l.config.KeyGrace = keyGraceInFaults
	case len(c.KeyServers) > 1:
		l.config.KeyGrace = keyGraceOfTwo
	}
	if !o.cluster.Bare {
		l.config.EndKey = func(ctx context.Context, name string) error {
			_, err := c.RunAdmin(ctx, "key", "rm", "--force", name)
			return err
		}
	}
	for _, way := range c.Ways() {
		l.config.Targets = append(l.config.Targets, target(way))
	}
	return l, nil
}

func target(w cluster.Way) workload.Target {
	return workload.Target{Name: w.Name, URL: w.URL, AccessKey: w.AccessKey, SecretKey: w.SecretKey, Region: w.Region}
}

// note keeps a secret that a server told a client.
func (l *clients) note(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.secrets) < mostSecrets {
		l.secrets[fmt.Sprintf("session's secret %d", len(l.secrets))] = secret
	}
}

func (l *clients) run(ctx context.Context) error {
	_, err := workload.Run(ctx, l.config)
	return err
}

// judge reads everything once more, and has the history checked.
func (l *clients) judge(ctx context.Context, s *summary, logf func(string, ...any)) error {
	for kind, outcomes := range l.config.Record.Counts() {
		s.Operations[string(kind)] = counts{}
		for outcome, n := range outcomes {
			s.Operations[string(kind)][string(outcome)] = n
		}
	}
	before := len(l.config.Record.Ops())
	if err := workload.Final(ctx, l.config, l.config.Record); err != nil {
		return err
	}
	logf("%d operations, and %d reads in the end", before, len(l.config.Record.Ops())-before)
	if err := errors.Join(l.config.Record.Flush(), l.file.Close()); err != nil {
		return err
	}
	s.judge(l.config.Record)
	logf("checked %d registers: %d violations, %d undecided", s.Registers, len(s.Violations), s.Undecided)
	return nil
}

// judge has a history checked.
func (s *summary) judge(h *history.History) {
	v := checker.Judge(h, checker.Usual)
	for _, one := range v.Violations {
		// MinIO does not say of copies and uploads how they are encrypted, which is no broken promise here.
		if !s.Bare || one.Kind != "seal" {
			s.Violations = append(s.Violations, one)
		}
	}
	s.Registers, s.Undecided = v.Keys, v.Undecided
}

// tell says what the aftermath needs to know of the clients.
func (l *clients) tell(o *aftermath.Options) {
	l.mu.Lock()
	o.Secrets = maps.Clone(l.secrets)
	l.mu.Unlock()
	keys := map[string]bool{}
	for _, op := range l.config.Record.Ops() {
		if op.Kind == history.Put && strings.HasPrefix(op.Key, "c/") {
			keys[string(workload.CustomerKey(op.Bucket, op.Key))] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		o.CustomerKeys = append(o.CustomerKeys, []byte(key))
		if len(o.Secrets) < 2*mostSecrets {
			o.Secrets[fmt.Sprintf("customer key %d", len(o.CustomerKeys))] = key
		}
	}
}

// checkCommand checks a history again.
func checkCommand(_ context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	storage := flags.String("storage", "four", "what the run's was")
	killed := flags.Bool("killed", false, "MinIO was killed in the run")
	if err := flags.Parse(args); err != nil {
		return misused, err
	}
	if flags.NArg() != 1 {
		return misused, errors.New("chaos check FILE")
	}
	f, err := os.Open(flags.Arg(0))
	if err != nil {
		return misused, err
	}
	defer f.Close()
	h, err := history.Read(f)
	if err != nil {
		return undecided, err
	}
	var s summary
	s.judge(h)
	s.Violations, s.Apart = checker.SetApart(h, s.Violations, checker.Storage{Several: *storage == "four", Killed: *killed})
	for _, v := range s.Violations {
		fmt.Println(line(v))
	}
	for _, v := range s.Apart {
		fmt.Println("MinIO's alone, no violation:", line(v))
	}
	fmt.Printf("%d operations, %d registers, %d undecided, %d violations\n", len(h.Ops()), s.Registers, s.Undecided, len(s.Violations))
	if len(s.Violations) > 0 {
		return violated, nil
	}
	return good, nil
}

func line(v checker.Violation) string {
	where := v.Bucket
	if v.Key != "" {
		where += "/" + v.Key
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s: %s %v", v.Kind, where, v.Detail, v.Events))
}
