package keycmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
)

// MigrateCommand is `bucketseal kms migrate`.
func MigrateCommand(a *cli.App) *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "migrate --from A.yml --to B.yml [PATTERN]",
		Short: "Copy keys from one key store to another",
		Long: `Copies the keys of the store that A.yml names, a KES configuration, to the one that B.yml
names, reads each back and compares. PATTERN is a name or a beginning followed by *. A key that
is in B already is left as it is; if it is another key of the same name, that is an error. What
is in A stays. It can be run again after an interruption.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern := "*"
			if len(args) > 0 {
				pattern = args[0]
			}
			if err := kms.ValidateListPattern(pattern); err != nil {
				return cli.Usage(err)
			}
			source, err := openStoreOf(cmd.Context(), a, from, false)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			defer func() { _ = source.Close() }()
			target, err := openStoreOf(cmd.Context(), a, to, true)
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			defer func() { _ = target.Close() }()
			return migrate(cmd.Context(), a, source, target, pattern)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "KES configuration of the store to read")
	cmd.Flags().StringVar(&to, "to", "", "KES configuration of the store to write")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name)
		_ = cmd.MarkFlagFilename(name, "yml", "yaml")
	}
	return cmd
}

// openStoreOf opens the key store that a KES configuration names.
func openStoreOf(ctx context.Context, a *cli.App, file string, create bool) (kms.Store, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := kmsconfig.ParseEmbedded(file, data, "", a.LookupEnv)
	if err != nil {
		return nil, err
	}
	if c.KeyStore == nil {
		return nil, fmt.Errorf("%s: there is no keystore", file)
	}
	return build.OpenStore(ctx, a, c.KeyStore, create)
}

// migrate copies what matches. One key that fails does not keep the others from
// being copied.
func migrate(ctx context.Context, a *cli.App, from, to kms.Store, pattern string) error {
	prefix, all := strings.CutSuffix(pattern, "*")
	entries, err := from.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("list the keys to copy: %w", err)
	}
	keys := kms.GroupEntries(entries)
	if !all && prefix != "" {
		keys = slices.DeleteFunc(keys, func(k kms.KeyEntries) bool { return k.Name != prefix })
		if len(keys) == 0 { // a listing may not show it yet
			keys = []kms.KeyEntries{{Name: prefix}}
		}
	}
	progressTo := a.Stderr
	if a.Quiet {
		progressTo = io.Discard
	}
	bar := newProgress(progressTo, len(keys))
	var copied, present int
	var failed []error
	for _, key := range keys {
		fresh, err := copyEntries(ctx, from, to, key)
		switch {
		case errors.Is(err, errGone) && !slices.Contains(entries, key.Name): // nobody said that it is there
		case err != nil:
			failed = append(failed, fmt.Errorf("key %q: %w", key.Name, err))
		case fresh:
			copied++
		default:
			present++
		}
		bar.step()
		if ctx.Err() != nil {
			failed = append(failed, errors.New("interrupted; run it again to copy the rest"))
			break
		}
	}
	bar.end()
	fmt.Fprintf(a.Stdout, "%d keys copied and verified, %d there already, %d failed\n", copied, present, len(failed))
	return errors.Join(failed...)
}

var (
	errGone     = errors.New("it is not in the source any more")
	errOtherKey = errors.New("the target has another key of that name; nothing was changed")
)

// copyEntries copies a key with its versions, but for those that the target says are destroyed,
// and opens it there. A listing may be out of date: what belongs to the key is read by name. fresh
// is false if the target had them all.
func copyEntries(ctx context.Context, from, to kms.Store, key kms.KeyEntries) (fresh bool, err error) {
	values, err := kms.ReadEntries(ctx, from, key.Name, key.Entries)
	if errors.Is(err, kms.ErrKeyNotFound) {
		return false, fmt.Errorf("%w: %w", errGone, err)
	}
	if err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	defer clearAll(values)
	if len(values) == 0 {
		return false, errGone
	}
	entries := kms.GroupEntries(slices.Collect(maps.Keys(values)))[0].Entries
	destroyed, err := kms.DestroyedEntries(ctx, to, key.Name, entries)
	if err != nil {
		return false, fmt.Errorf("which versions the target says are destroyed: %w", err)
	}
	for _, entry := range entries {
		if slices.Contains(destroyed, entry) {
			continue
		}
		copied, err := copyKey(ctx, to, entry, values[entry])
		if err != nil {
			return false, err
		}
		fresh = fresh || copied
	}
	there, err := kms.ReadEntries(ctx, to, key.Name, nil)
	clearAll(there)
	if err != nil {
		return false, fmt.Errorf("open the copy: %w", err)
	}
	return fresh, nil
}

func clearAll(values map[string][]byte) {
	for _, value := range values {
		clear(value)
	}
}

// copyKey writes a value and reads it back. fresh is false if the target had it already.
func copyKey(ctx context.Context, to kms.Store, name string, value []byte) (fresh bool, err error) {
	if key, _ := kms.KeyOfEntry(name); key == name {
		key, err := kms.ParseRecord(value)
		if err != nil {
			return false, err
		}
		key.Zero()
	}
	err = to.Create(ctx, name, slices.Clone(value)) // a store may seal in place
	fresh = err == nil
	if err != nil && !errors.Is(err, kms.ErrKeyExists) {
		return false, fmt.Errorf("write: %w", err)
	}
	stored, err := to.Get(ctx, name)
	if err != nil {
		return false, fmt.Errorf("read back: %w", err)
	}
	defer clear(stored)
	if !bytes.Equal(stored, value) {
		if fresh {
			return false, errors.New("what was read back is not what was written")
		}
		return false, errOtherKey
	}
	return fresh, nil
}

// progress draws a bar on a terminal, and nothing elsewhere.
type progress struct {
	out         io.Writer // nil: nowhere
	total, done int
	drawn       string
}

func newProgress(w io.Writer, total int) *progress {
	p := &progress{total: total}
	if cli.IsTerminal(w) {
		p.out = w
	}
	return p
}

func (p *progress) step() {
	p.done++
	if line := p.line(); p.out != nil && line != p.drawn {
		p.drawn = line
		fmt.Fprint(p.out, "\r", line)
	}
}

// line is the bar as it stands now.
func (p *progress) line() string {
	const width = 40
	if p.total == 0 {
		return ""
	}
	filled := width * p.done / p.total
	return fmt.Sprintf("[%s%s] %d/%d keys", strings.Repeat("=", filled), strings.Repeat(" ", width-filled), p.done, p.total)
}

func (p *progress) end() {
	if p.out != nil && p.drawn != "" {
		fmt.Fprintln(p.out)
	}
}
