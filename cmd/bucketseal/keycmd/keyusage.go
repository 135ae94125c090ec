package keycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/usage"
)

// usageCommand is what key usage was asked.
type usageCommand struct {
	a                  *cli.App
	key                string
	buckets            []string
	list, scan, asJSON bool
	rate               float64
}

func keyUsageCommand(a *cli.App) *cobra.Command {
	u := &usageCommand{a: a}
	cmd := &cobra.Command{
		Use:   "usage [NAME]",
		Short: "Count the objects that lie under a KMS key",
		Long: `Count objects, all their versions, and uploads that are under way by bucket, mode of encryption and
version of the KMS key that their keys lie under; without a name, of all KMS keys, and what has
none.

The proxies scan all buckets from time to time (usage_scan) and share what they found: that is the
answer, with its age. --scan scans now, and so do --list and --bucket, and the first time of all. A scan of all buckets is
remembered, for "key retire", "key destroy" and "key rm" too. What was written since a scan began may be
missing: what it did not see is not unused. Objects whose records cannot be read may lie under any
key; they are named.

It needs the proxy's configuration, and MinIO. No key is opened.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.key = strings.Join(args, "")
			if u.rate < 0 {
				return cli.Usage(errors.New("--rate: not below 0"))
			}
			return build.WithServer(a, cmd, u.run)
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&u.scan, "scan", false, "scan all buckets now, and remember the result")
	flags.StringSliceVar(&u.buckets, "bucket", nil, "scan only buckets that match these patterns, now")
	flags.Float64Var(&u.rate, "rate", 0, "objects per second of a scan at most; 0 is no bound")
	flags.BoolVar(&u.list, "list", false, "scan now, and print a line of JSON for each object, and one with the counts")
	flags.BoolVar(&u.asJSON, "json", false, "print the counts as JSON")
	return cmd
}

func (u *usageCommand) run(ctx context.Context, _ *config.Config, server *proxy.Server) error {
	scan, err := u.result(ctx, server.Usage())
	if err != nil {
		return err
	}
	shared, err := server.Uses().Shared(ctx)
	if errors.Is(err, usage.ErrMalformed) {
		shared, err = &usage.Shared{}, nil
	}
	if err != nil {
		return err
	}
	if u.asJSON || u.list {
		return u.a.PrintJSON(u.json(scan, shared))
	}
	return u.print(u.a.Stdout, scan, shared)
}

// result returns the last scan, or makes one if that is asked for or there is none.
func (u *usageCommand) result(ctx context.Context, scanner *usage.Scanner) (*usage.Scan, error) {
	if !u.scan && !u.list && len(u.buckets) == 0 {
		scan, err := scanner.Last(ctx)
		if !errors.Is(err, usage.ErrNoScan) && !errors.Is(err, usage.ErrMalformed) {
			return scan, err
		}
		fmt.Fprintf(u.a.Stderr, "%v; scanning now\n", err)
	}
	o := &usage.ScanOptions{Key: u.key, Buckets: u.buckets, Rate: u.rate, Say: func(what string) { fmt.Fprintln(u.a.Stderr, what) }}
	if u.list {
		o.Found = func(used maintenance.Used) { printUsed(u.a, &used) }
	}
	if cli.IsTerminal(u.a.Stderr) && !u.list {
		began, shown := time.Now(), time.Time{}
		defer fmt.Fprint(u.a.Stderr, "\r")
		o.Progress = func(seen int64) {
			if now := time.Now(); now.Sub(shown) > time.Second {
				shown = now
				fmt.Fprintf(u.a.Stderr, "\r%d objects, %.0f/s   ", seen, float64(seen)/now.Sub(began).Seconds())
			}
		}
	}
	return scanner.Scan(ctx, o)
}

func printUsed(a *cli.App, u *maintenance.Used) {
	_ = a.PrintJSON(struct { // a.Stdout keeps the error
		Bucket        string `json:"bucket"`
		Key           string `json:"key"`
		VersionID     string `json:"version_id,omitempty"`
		UploadID      string `json:"upload_id,omitempty"`
		Mode          string `json:"mode"`
		KMSKey        string `json:"kms_key,omitempty"`
		KMSKeyVersion uint32 `json:"kms_key_version,omitempty"`
		Size          int64  `json:"stored_bytes"`
		Unnoted       bool   `json:"unnoted,omitempty"`
	}{u.Name.Bucket, u.Name.Key, u.Version, u.Upload, u.Mode.String(), u.KMSKey, u.KMSKeyVersion, u.Size, u.Unnoted})
}

// lastUse is when a version of a key was last seen in use.
type lastUse struct {
	KMSKey  string `json:"kms_key"`
	Version uint32 `json:"kms_key_version"`
	usage.Use
}

// systemRows are the proxies' own objects under the key that is meant.
func (u *usageCommand) systemRows(scan *usage.Scan) []usage.SystemCount {
	rows := []usage.SystemCount{}
	for _, c := range scan.System {
		if u.key == "" || c.KMSKey == u.key {
			rows = append(rows, c)
		}
	}
	return rows
}

func (u *usageCommand) json(scan *usage.Scan, shared *usage.Shared) any {
	uses := []lastUse{}
	for _, one := range shared.Of(u.key) {
		uses = append(uses, lastUse{one.Key, one.Version, one.Use})
	}
	return struct {
		Began        time.Time           `json:"began"`
		Ended        time.Time           `json:"ended"`
		Age          int64               `json:"age_seconds"`
		Buckets      []string            `json:"buckets"`
		Counts       []usage.Row         `json:"counts"`
		UnknownCount int64               `json:"unknown_count"`
		Unknown      []usage.Unknown     `json:"unknown"`
		System       []usage.SystemCount `json:"system"`
		LastUses     []lastUse           `json:"last_uses"`
	}{
		scan.Began.UTC(), scan.Ended.UTC(), int64(time.Since(scan.Began).Seconds()), scan.Buckets, scan.Of(u.key, 0), scan.UnknownCount, scan.Unknown,
		u.systemRows(scan), uses,
	}
}

func (u *usageCommand) print(w io.Writer, scan *usage.Scan, shared *usage.Shared) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KMS KEY\tVERSION\tBUCKET\tMODE\tOBJECTS\tSTORED BYTES\tUPLOADS")
	for _, row := range scan.Of(u.key, 0) {
		key, version := row.KMSKey, fmt.Sprint(row.Version)
		if key == "" {
			key, version = "-", "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", key, version, row.Bucket, row.Mode, row.Objects, row.Bytes, row.Uploads)
	}
	for _, row := range u.systemRows(scan) {
		fmt.Fprintf(table, "%s\t%d\t(the proxy's own)\t\t%d\t\t\n", row.KMSKey, row.Version, row.Objects)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range scan.Unknown {
		fmt.Fprintf(w, "not known, may lie under any key: %s/%s %s: %v\n", one.Bucket, one.Key, one.VersionID, one.Error)
	}
	if more := scan.UnknownCount - int64(len(scan.Unknown)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for _, one := range shared.Of(u.key) {
		fmt.Fprintf(w, "last seen in use: %s version %d: sealing %s, opening %s\n", one.Key, one.Version, seenAt(one.Generate), seenAt(one.Decrypt))
		if !one.Wanted.IsZero() {
			fmt.Fprintf(w, "asked for while it was retired: %s version %d: %s; the log says for which objects\n", one.Key, one.Version, seenAt(one.Wanted))
		}
	}
	_, err := fmt.Fprintf(w, "scanned %d buckets, all versions, from %s to %s (%s ago); what was written since it began is not counted\n",
		len(scan.Buckets), scan.Began.UTC().Format(time.RFC3339), scan.Ended.UTC().Format(time.RFC3339), time.Since(scan.Began).Round(time.Second))
	return err
}

func seenAt(t time.Time) string {
	if t.IsZero() {
		return "not seen"
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}
