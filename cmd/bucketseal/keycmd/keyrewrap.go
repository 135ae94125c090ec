package keycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
)

func keyRewrapCommand(a *cli.App) *cobra.Command {
	var o maintenance.Rewrap
	var buckets []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rewrap",
		Short: "Seal objects' keys under another KMS key, or a newer version",
		Long: `Seal the keys of objects under the newest version of their KMS key, or under another KMS key. The
objects stay as they are: no data is read or written, and ETags, dates, versions, tags and locks do
not change. What is written is a small note for each object in the system bucket. All versions of
objects are included, and uploads that are under way.

It may be ended at any time and done again; what lies where it shall is left alone. Several may run.
Objects that are written while it runs lie under the newest version by themselves.

What the proxies keep for themselves in the system bucket lies under the KMS key bucketseal-system. It
is sealed under that key's newest version by a run without --key, --bucket and --to, or with
--key bucketseal-system. Wait a few seconds after rotating that key: by then every server knows of it.

Objects of SSE-S3 can go to sse_s3.key and to its former keys only. Objects of SSE-C have keys of
their clients', and are left alone. It needs the proxy's configuration, and MinIO.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Buckets = buckets
			if o.Rate < 0 {
				return cli.Usage(errors.New("--rate: not below 0"))
			}
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				return rewrap(ctx, a, server.Keeper(), o, asJSON)
			})
		},
	}
	cli.ConfigFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.Key, "key", "", "only objects that lie under this KMS key")
	f.StringVar(&o.To, "to", "", "the KMS key to seal under; each object's own if not given")
	f.StringSliceVar(&buckets, "bucket", nil, "only buckets that match these patterns")
	f.Uint32Var(&o.OlderThan, "older-than", 0, "only objects under a version of their KMS key below this one; the newest if not given")
	f.Float64Var(&o.Rate, "rate", 0, "objects per second at most; 0 is no bound")
	f.BoolVar(&o.DryRun, "dry-run", false, "open and seal each key, and store nothing")
	f.BoolVar(&asJSON, "json", false, "print a line of JSON for each object")
	return cmd
}

// rewrapLine is what --json prints of an object.
type rewrapLine struct {
	Time        time.Time `json:"time"`
	Bucket      string    `json:"bucket"`
	Key         string    `json:"key"`
	VersionID   string    `json:"version_id,omitempty"`
	UploadID    string    `json:"upload_id,omitempty"`
	Mode        string    `json:"mode,omitempty"`
	System      bool      `json:"system,omitempty"`
	FromKey     string    `json:"from_kms_key,omitempty"`
	FromVersion uint32    `json:"from_kms_key_version,omitempty"`
	ToKey       string    `json:"to_kms_key,omitempty"`
	ToVersion   uint32    `json:"to_kms_key_version,omitempty"`
	Error       string    `json:"error,omitempty"`
}

func rewrap(ctx context.Context, a *cli.App, keeper *maintenance.Keeper, o maintenance.Rewrap, asJSON bool) error {
	progress := &rewrapProgress{w: a.Stderr, began: time.Now()}
	if cli.IsTerminal(a.Stderr) {
		count := o
		count.CountOnly, count.Report = true, func(maintenance.Rewrapped) {}
		scope, err := keeper.Rewrap(ctx, &count)
		if err != nil {
			return err
		}
		progress.began, progress.scope = time.Now(), scope.Done+scope.SystemDone
		o.Progress = progress.show
	}
	o.Report = func(r maintenance.Rewrapped) {
		if asJSON {
			line := rewrapLine{
				Time: time.Now().UTC(), Bucket: r.Name.Bucket, Key: r.Name.Key, VersionID: r.Version, UploadID: r.Upload, Mode: r.Mode.String(), System: r.System,
				FromKey: r.FromKey, FromVersion: r.FromVersion, ToKey: r.ToKey, ToVersion: r.ToVersion,
			}
			if r.Err != nil {
				line.Error = r.Err.Error()
			}
			_ = a.PrintJSON(line) // a.Stdout keeps the error
		} else if r.Err != nil {
			fmt.Fprintf(a.Stderr, "not sealed anew: %s/%s %s%s: %v\n", r.Name.Bucket, r.Name.Key, r.Version, r.Upload, r.Err)
		}
	}
	total, err := keeper.Rewrap(ctx, &o)
	if o.Progress != nil {
		progress.end(total)
	}
	verb := "sealed anew"
	if o.DryRun {
		verb = "would seal anew"
	}
	out := io.Writer(a.Stdout)
	if asJSON {
		out = a.Stderr
	}
	fmt.Fprintf(out, "%s %d of %d objects, versions and uploads; failed %d; without a KMS key: %d of SSE-C, %d not encrypted\n",
		verb, total.Done, total.Seen, total.Failed, total.Customer, total.Plain)
	if total.System > 0 {
		fmt.Fprintf(out, "%s %d of %d objects of the proxies' own\n", verb, total.SystemDone, total.System)
	}
	if err == nil && total.Failed > 0 {
		err = fmt.Errorf("%d objects were not sealed anew", total.Failed)
	}
	return err
}

// rewrapProgress shows on a terminal how far a re-wrap is.
type rewrapProgress struct {
	w     io.Writer
	began time.Time
	scope int64
	shown time.Time
}

// show shows it, at most once a second.
func (p *rewrapProgress) show(total maintenance.RewrapTotal) {
	if now := time.Now(); now.Sub(p.shown) >= time.Second {
		p.shown = now
		p.line(now, total)
	}
}

// end shows it for the last time, and ends the line.
func (p *rewrapProgress) end(total maintenance.RewrapTotal) {
	p.line(time.Now(), total)
	fmt.Fprintln(p.w)
}

func (p *rewrapProgress) line(now time.Time, total maintenance.RewrapTotal) {
	done, took := total.Done+total.SystemDone+total.Failed, now.Sub(p.began)
	rate := float64(done) / took.Seconds()
	left := "?"
	if done > 0 && p.scope >= done {
		left = time.Duration(float64(p.scope-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(p.w, "\r%d of %d, %.0f/s, %s left   ", done, p.scope, rate, left)
}
