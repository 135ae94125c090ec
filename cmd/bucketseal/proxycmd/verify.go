package proxycmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/verify"
)

// verifyFlags are what the command line says beside the order itself.
type verifyFlags struct {
	order              verify.Order
	rate, as, secretIn string
	sample, since      string
	stateIn            string
}

func objectVerifyCommand(a *cli.App) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [--bucket PATTERN]",
		Short: "Read encrypted objects and say what is wrong with them",
		Long: `Reads objects, noncurrent versions too, as they lie at MinIO: every package is authenticated, and
the ETag and the checksum that clients know are compared with the data. What is wrong is printed as
JSON, one finding a line, and counts are the last line. The kinds: record, data, digest, manifest
(see object rescue), key (the KMS key is gone or not permitted), refused; and, which are no damage:
plain, customer-key (SSE-C, which is not read), unproven and orphan (a manifest that no object needs;
a sweep removes it). The exit code is 1 if anything is wrong. Nothing is changed.

With --state FILE it notes there how far it is, and run again goes on from there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(time.Now()); err != nil {
				return cli.Usage(err)
			}
			return build.WithServer(a, cmd, func(ctx context.Context, c *config.Config, server *proxy.Server) error {
				return f.run(ctx, a, c, server)
			})
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar((*[]string)(&f.order.Buckets), "bucket", []string{"*"}, "buckets, a pattern with * and ?; may be repeated")
	flags.StringVar(&f.sample, "sample", "100%", "read only this share of the objects, chosen at random, as in 5%")
	flags.StringVar(&f.since, "since", "", "leave out what is older: a date, a time as in RFC 3339, or a duration as in 24h")
	flags.StringVar(&f.rate, "rate", "", "begin at most so many objects in a second, as in 50/s")
	flags.IntVar(&f.order.Workers, "workers", 4, "read so many objects at a time")
	flags.BoolVar(&f.order.Orphans, "orphans", true, "also look for manifests that no object needs")
	flags.StringVar(&f.stateIn, "state", "", "file that keeps how far it is")
	flags.StringVar(&f.as, "as", "", "access key, of MinIO, to read objects with; the proxy's own if not given")
	flags.StringVar(&f.secretIn, "secret-key-file", "", "file with the secret key for --as; that of the configured credentials if not given")
	_ = cmd.MarkFlagFilename("state")
	_ = cmd.MarkFlagFilename("secret-key-file")
	return cmd
}

// check refuses what the command line says wrongly.
func (f *verifyFlags) check(now time.Time) (err error) {
	if f.order.Workers < 1 || f.order.Workers > 64 {
		return fmt.Errorf("--workers %d: 1 to 64", f.order.Workers)
	}
	if f.secretIn != "" && f.as == "" {
		return errors.New("--secret-key-file is for --as")
	}
	if f.order.Sample, err = readShare(f.sample); err != nil {
		return err
	}
	if f.order.Since, err = readSince(f.since, now); err != nil {
		return err
	}
	f.order.Seed = rand.Uint64() //nolint:gosec // no secret
	f.order.Rate, err = readRate(f.rate)
	return err
}

// readShare reads a percentage.
func readShare(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(share > 0 && share <= 100) {
		return 0, fmt.Errorf("--sample %q: give a share as in 5%%", text)
	}
	return share / 100, nil
}

// readSince reads a time, or how long ago it was.
func readSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %q: give a date, a time as in RFC 3339, or a duration as in 24h", text)
}

// savedState is the file of --state.
type savedState struct {
	// Order is what the run was asked for; Since and Seed are those of its beginning.
	Order string       `json:"order"`
	Since time.Time    `json:"since"`
	Seed  uint64       `json:"seed"`
	State verify.State `json:"state"`
	Done  bool         `json:"done"`
}

// name says what was asked for, of which only the same goes on.
func (f *verifyFlags) name() string {
	return strings.Join(append([]string{f.sample, f.since}, f.order.Buckets...), " ")
}

// load reads how far an earlier run came, if there was one.
func (f *verifyFlags) load() error {
	if f.stateIn == "" {
		return nil
	}
	text, err := os.ReadFile(f.stateIn)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var saved savedState
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.stateIn, err)
	case saved.Order != f.name():
		return cli.Usage(fmt.Errorf("%s is of another verification (%s): remove it to begin anew", f.stateIn, saved.Order))
	case saved.Done:
		return nil // that one came to its end: this is another
	}
	f.order.From, f.order.Seed, f.order.Since = saved.State, saved.Seed, saved.Since
	return nil
}

// save writes how far the run is, so that a crash leaves this or what was there before.
func (f *verifyFlags) save(state verify.State, done bool) error {
	if f.stateIn == "" {
		return nil
	}
	text, err := json.Marshal(savedState{Order: f.name(), Since: f.order.Since, Seed: f.order.Seed, State: state, Done: done})
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(f.stateIn), filepath.Base(f.stateIn)+"-*")
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err == nil {
		err = next.Sync()
	}
	err = errors.Join(err, next.Close())
	if err == nil {
		err = os.Rename(next.Name(), f.stateIn)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}

func (f *verifyFlags) run(ctx context.Context, a *cli.App, c *config.Config, server *proxy.Server) (err error) {
	if f.order.As, err = credential(c, f.as, f.secretIn); err != nil {
		return err
	}
	if err := f.load(); err != nil {
		return err
	}
	ticker := newTicker(a)
	f.order.Reached = func(state verify.State) error {
		ticker.say(func() string {
			n := &state.Counts
			return fmt.Sprintf("%d objects and versions seen, %d verified (%s), %d wrong", n.Seen, n.Good, sizeText(n.Bytes), n.Bad())
		})
		return f.save(state, false)
	}
	f.order.Found = func(found verify.Finding) {
		ticker.pause()
		line := map[string]string{"kind": string(found.Kind), "key": found.Key}
		if found.Bucket != "" {
			line["bucket"], line["version"] = found.Bucket, found.Version
		}
		if found.Err != nil {
			line["error"] = found.Err.Error()
		}
		_ = a.PrintJSON(line)
	}
	counts, err := server.Verifier().Run(ctx, &f.order)
	ticker.end()
	if err == nil {
		err = f.save(verify.State{}, true)
	}
	if printed := a.PrintJSON(summary(counts, err == nil)); err == nil {
		err = printed
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case err != nil:
		return err
	case counts.Bad() > 0:
		return fmt.Errorf("%d objects and versions are not as they should be", counts.Bad())
	}
	return nil
}

// summary is the last line.
func summary(n *verify.Counts, complete bool) map[string]any {
	kinds := make([]string, 0, len(n.Found))
	for kind := range n.Found {
		kinds = append(kinds, string(kind))
	}
	slices.Sort(kinds)
	found := make(map[string]int64, len(kinds))
	for _, kind := range kinds {
		found[kind] = n.Found[verify.Kind(kind)]
	}
	return map[string]any{
		"kind": "summary", "complete": complete, "seen": n.Seen, "skipped": n.Skipped, "verified": n.Good, "bytes": n.Bytes, "found": found, "wrong": n.Bad(),
	}
}
