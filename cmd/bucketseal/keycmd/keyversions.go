package keycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
)

// defaultWaiting is how long a version waits for its destruction.
const defaultWaiting = "7d"

// unknownCount is typed in where how many objects are lost would be, were it known.
const unknownCount = "unknown"

func keyRotateCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate NAME...",
		Short: "Make a new version of KMS keys",
		Long: `Makes a new version of each key. What is written from then on is sealed under it; what was written
before opens as it did. Every server takes the new version within seconds.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				return cli.Each(names, func(name string) error {
					version, err := keys.RotateKey(ctx, name, 0)
					if err != nil {
						return fmt.Errorf("rotate %q: %w", name, explainVersions(err))
					}
					return printVersion(a, asJSON, "rotated", name, version)
				})
			})
		},
	}
	keyFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explainVersions says what a server lacks that knows no versions.
func explainVersions(err error) error {
	if errors.Is(err, kms.ErrNotSupported) {
		return fmt.Errorf("%w: the key server knows no versions of keys, or its policy was written for one that knows none", err)
	}
	return err
}

func printVersion(a *cli.App, asJSON bool, done, name string, version uint32) error {
	if asJSON {
		return a.PrintJSON(struct {
			Name    string `json:"name"`
			Version uint32 `json:"version"`
			Status  string `json:"status"`
		}{name, version, done})
	}
	_, err := fmt.Fprintf(a.Stdout, "%s %s version %d\n", done, name, version)
	return err
}

// lossOfForce is what refusals and questions say of a version whose use is not known.
const lossOfForce = "Whatever it sealed"

// versionCommand is a command that changes one version.
type versionCommand struct {
	a                           *cli.App
	force, now, accept, asJSON  bool
	after                       string
	action                      kms.VersionAction
	done, use, short, long, yes string
}

func (v *versionCommand) command() *cobra.Command {
	cmd := &cobra.Command{Use: v.use + " NAME VERSION", Short: v.short, Long: v.long, Args: cobra.ExactArgs(2), RunE: v.run}
	keyFlags(cmd)
	upstreamFlag(cmd)
	flags := cmd.Flags()
	if v.action != kms.Reinstate {
		flags.BoolVar(&v.force, "force", false, "although something uses the version, or it is not known what does")
		flags.BoolVar(&v.accept, cli.AcceptLossFlag, false, "also of keys that seal the proxy's own data, which is lost then")
	}
	if v.action == kms.Destroy {
		flags.StringVar(&v.after, "after", defaultWaiting, "how long it can still be reinstated, in days")
		flags.BoolVar(&v.now, "now", false, "destroy it at once, after a question")
		cmd.MarkFlagsMutuallyExclusive("after", "now")
	}
	flags.BoolVar(&v.asJSON, "json", false, "print JSON")
	return cmd
}

func (v *versionCommand) run(cmd *cobra.Command, args []string) error {
	name := args[0]
	number, err := strconv.ParseUint(strings.TrimPrefix(args[1], "v"), 10, 32)
	if err != nil || number == 0 {
		return cli.Usage(fmt.Errorf("%q is no version; they count from 1", args[1]))
	}
	change := kms.VersionChange{Action: v.action, Version: uint32(number), Force: v.force}
	if v.action == kms.Destroy && !v.now {
		if change.After, err = parseDays(v.after); err != nil {
			return cli.Usage(fmt.Errorf("--after: %w", err))
		}
	}
	return WithKeys(v.a, cmd, false, func(ctx context.Context, keys kms.Service) error {
		if loss := systemLoss(name); loss != "" && v.action != kms.Reinstate && !v.accept {
			if err := v.systemFree(ctx, cmd, keys, name, change.Version); err != nil {
				return fmt.Errorf("%q %s; not even --force ends a version of it, --%s does (%w)", name, loss, cli.AcceptLossFlag, err)
			}
		}
		if err := v.mayEnd(ctx, cmd, keys, name, &change); err != nil {
			return err
		}
		if v.now && !v.force && change.Force { // nothing is known to need it
			if err := v.stillFree(ctx, cmd, keys, name, change.Version); err != nil {
				return err
			}
		}
		err := keys.ChangeVersion(ctx, name, change)
		switch {
		case errors.Is(err, kms.ErrUsageUnknown):
			return fmt.Errorf("%s version %d of %q: %w: bucketseal key usage counts that. %s %s; --force does it all the same", v.action, number, name, err, lossOfForce, v.yes)
		case err != nil:
			return fmt.Errorf("%s version %d of %q: %w", v.action, number, name, explainVersions(err))
		}
		done := v.done
		if change.After > 0 {
			done = "will be destroyed in " + v.after + ":"
		}
		return printVersion(v.a, v.asJSON, done, name, change.Version)
	})
}

// errSystemUncounted says that a scan could not tell what the proxies' own objects lie under.
var errSystemUncounted = errors.New("the last scan could not count the proxies' own objects; the log names what it did not know")

// systemFree returns nil if a version of one of the proxy's own keys is known to seal nothing,
// or why it is not.
func (v *versionCommand) systemFree(ctx context.Context, cmd *cobra.Command, keys kms.Service, name string, version uint32) error {
	if err := v.auditFree(cmd, name, version); err != nil {
		return err
	}
	verdict, err := usedVersion(ctx, v.a, cmd, keys, name, version)
	switch {
	case err != nil:
		return err
	case verdict.Lost() > 0:
		return fmt.Errorf("it is used: %s, counted %s; bucketseal key rewrap --key %s moves them", verdict, counted(verdict.Scan), name)
	case verdict.Missing != "":
		return fmt.Errorf("it is not known whether it is used: %s; use: %s", verdict.Missing, verdict.Remedy)
	case verdict.Scan.System == nil:
		return errSystemUncounted
	}
	return nil
}

// auditFree returns nil if no key that has signed the audit log's files is known to lie under a
// version of a KMS key. Without it nobody could verify their lines from the key service.
func (v *versionCommand) auditFree(cmd *cobra.Command, name string, version uint32) error {
	c, err := v.a.LoadConfig(cmd)
	if err != nil || c.Audit.File.Path == "" {
		return nil //nolint:nilerr // what has no configuration has no log either
	}
	files, err := trail.Files(c.Audit.File.Path)
	if err != nil {
		return err
	}
	under, err := trail.SealedUnder(files, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("audit.file: %w", err)
	}
	if n := under[version]; n > 0 {
		return fmt.Errorf("it seals %d keys that signed the audit log %s, whose lines could be verified by a public key alone; bucketseal audit verify prints that", n, c.Audit.File.Path)
	}
	return nil
}

// mayEnd says whether a version may be retired or destroyed: --force is given, or it is known
// that nothing lies under it. Without a proxy's configuration nothing is known here, and the
// key service says so.
func (v *versionCommand) mayEnd(ctx context.Context, cmd *cobra.Command, keys kms.Service, name string, change *kms.VersionChange) error {
	if v.action == kms.Reinstate {
		return nil
	}
	verdict, err := usedVersion(ctx, v.a, cmd, keys, name, change.Version)
	none := errors.Is(err, errNoProxy)
	switch {
	case none && !v.force:
		return nil
	case !v.force:
		if err := refusal(verdict, err, fmt.Sprintf("%s version %d of %q", v.action, change.Version, name), v.yes); err != nil {
			return err
		}
		change.Force = true
	case !none:
		fmt.Fprintf(v.a.Stderr, "version %d of %s: %s\n", change.Version, name, lossKnown(verdict, err))
	}
	if !v.now {
		return nil
	}
	count := unknownCount
	if err == nil && verdict.Missing == "" {
		count = strconv.FormatInt(verdict.Lost(), 10)
	}
	return confirmDestruction(v.a, name, change.Version, count)
}

// confirmDestruction has the count of what is lost typed in, which is a word where it is
// not known.
func confirmDestruction(a *cli.App, name string, version uint32, count string) error {
	fmt.Fprintf(a.Stderr, "Destroy version %d of %s now? %s is lost for ever. How many objects that are is %s: type that to go on: ", version, name, lossOfForce, count)
	answer, err := cli.ReadLine(a.Stdin)
	if err != nil || answer != count {
		fmt.Fprintln(a.Stderr)
		return errNotConfirmed
	}
	return nil
}

func keyRetireCommand(a *cli.App) *cobra.Command {
	v := &versionCommand{
		a: a, action: kms.Retire, done: "retired", use: "retire", short: "Let a version of a KMS key open nothing, until it is reinstated",
		long: `From then on, within seconds, every server refuses what the version sealed. Nothing is lost: "key reinstate"
undoes it. The newest version cannot be retired; rotate the key first.`,
		yes: "cannot be read until it is reinstated",
	}
	return v.command()
}

func keyReinstateCommand(a *cli.App) *cobra.Command {
	v := &versionCommand{
		a: a, action: kms.Reinstate, done: "reinstated", use: "reinstate", short: "Let a retired version of a KMS key open again what it sealed",
		long: `Undoes "key retire", and "key destroy" while its waiting time lasts.`,
	}
	return v.command()
}

func keyDestroyCommand(a *cli.App) *cobra.Command {
	v := &versionCommand{
		a: a, action: kms.Destroy, done: "destroyed", use: "destroy", short: "Destroy a version of a KMS key, after some days or at once",
		long: `The version is refused at once, and destroyed when the time is over; until then "key reinstate" brings it
back. A server that has the key store open does it, within an hour or two. With --now it is gone, and with it
everything it sealed. The newest version cannot be destroyed; rotate the key first.`,
		yes: "is lost for ever when it is destroyed",
	}
	return v.command()
}

// parseDays reads days, such as 7d, or a duration.
func parseDays(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 15)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no waiting time; write days, such as 7d", text)
	}
	return d, nil
}

// keyVersions are the versions of one key as commands show them.
type keyVersions struct {
	Name     string            `json:"name"`
	Versions []kms.VersionInfo `json:"versions"`
}

// listVersions is key ls --versions.
func listVersions(ctx context.Context, a *cli.App, cmd *cobra.Command, asJSON bool, keys kms.Service, names []string) error {
	all := make([]keyVersions, 0, len(names))
	err := cli.Each(names, func(name string) error {
		versions, err := keys.KeyVersions(ctx, name)
		if err != nil {
			return fmt.Errorf("%q: %w", name, explainVersions(err))
		}
		all = append(all, keyVersions{name, versions})
		return nil
	})
	addUses(ctx, a, cmd, keys, all)
	if asJSON {
		return errors.Join(a.PrintJSON(all), err)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tSTATE\tCREATED\tLAST SEEN SEALING\tLAST SEEN OPENING")
	for _, k := range all {
		for _, v := range k.Versions {
			fmt.Fprintf(w, "%s\t%s\n", k.Name, versionRow(keys, v))
		}
	}
	return errors.Join(w.Flush(), err)
}

// printVersions is the table below key info.
func printVersions(out io.Writer, keys kms.Service, versions []kms.VersionInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tSTATE\tCREATED\tLAST SEEN SEALING\tLAST SEEN OPENING")
	for _, v := range versions {
		fmt.Fprintln(w, versionRow(keys, v))
	}
	return w.Flush()
}

func versionRow(keys kms.Service, v kms.VersionInfo) string {
	state := v.State.String()
	if v.State == kms.VersionDoomed {
		state += " " + v.DestroyAt.UTC().Format(time.RFC3339)
	}
	at := func(t time.Time, missing string) string {
		if t.IsZero() {
			return missing
		}
		return t.UTC().Format(time.RFC3339)
	}
	seen := "not since its start"
	if _, local := keys.(*build.Keys); local { // this command has used nothing
		seen = "not seen"
	}
	return fmt.Sprintf("%d\t%s\t%s\t%s\t%s", v.Version, state, at(v.CreatedAt, "not known"), at(v.LastGenerate, seen), at(v.LastDecrypt, seen))
}
