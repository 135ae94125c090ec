package proxycmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/takeover"
)

// encryptFlags are what the command line says beside the order itself.
type encryptFlags struct {
	order              takeover.Order
	rate, as, secretIn string
	json               bool
}

func objectEncryptCommand(a *cli.App) *cobra.Command {
	var f encryptFlags
	cmd := &cobra.Command{
		Use:   "encrypt --bucket PATTERN",
		Short: "Encrypt objects that were there before, in place",
		Long: `Encrypts what was in buckets before the proxy: plain objects, and those that MinIO encrypted by
itself, as long as it still has its KMS. Each object takes its own place, noncurrent versions too:
version id, Last-Modified, metadata, tags, storage class and checksums stay, and with SSE-S3 the
ETag. The bucket's rule decides how, else auto_encryption.

Only buckets in plain_read are changed: elsewhere a plain object may have been planted. Objects
under retention or legal hold stay as they are and are told. Writers must go through the proxy by
now; what they write meanwhile is never lost. The command can be ended and run again at any time: a
listing shows what is left. It needs the right to read, write and list the objects at MinIO, which
the proxy's own credential need not have: see --as.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return cli.Usage(err)
			}
			return build.WithServer(a, cmd, func(ctx context.Context, c *config.Config, server *proxy.Server) error {
				return f.run(ctx, a, c, server)
			})
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar((*[]string)(&f.order.Buckets), "bucket", nil, "buckets, a pattern with * and ?; may be repeated")
	flags.BoolVar(&f.order.DryRun, "dry-run", false, "only count")
	flags.StringVar(&f.rate, "rate", "", "begin at most so many objects in a second, as in 50/s")
	flags.IntVar(&f.order.Workers, "workers", 4, "work on so many objects at a time")
	flags.BoolVar(&f.order.Governance, "bypass-governance", false, "also encrypt what is retained in governance mode; its retention stays")
	flags.StringVar(&f.order.Spool, "spool", "", "directory for the ciphertext of objects larger than small_object.size; the system's own if not given")
	flags.StringVar(&f.as, "as", "", "access key, of MinIO, to read and write objects with; the proxy's own if not given")
	flags.StringVar(&f.secretIn, "secret-key-file", "", "file with the secret key for --as; that of the configured credentials if not given")
	flags.BoolVar(&f.json, "json", false, "print JSON, one object a line")
	_ = cmd.MarkFlagDirname("spool")
	_ = cmd.MarkFlagFilename("secret-key-file")
	return cmd
}

// check refuses what the command line says wrongly.
func (f *encryptFlags) check() (err error) {
	switch {
	case len(f.order.Buckets) == 0:
		return errors.New("give --bucket PATTERN")
	case f.order.Workers < 1 || f.order.Workers > 64:
		return fmt.Errorf("--workers %d: 1 to 64", f.order.Workers)
	case f.secretIn != "" && f.as == "":
		return errors.New("--secret-key-file is for --as")
	}
	f.order.Rate, err = readRate(f.rate)
	return err
}

// readRate reads how many things may begin in a second, 0 for no bound.
func readRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64)
	if err != nil || !(rate > 0 && rate <= 1e6) {
		return 0, fmt.Errorf("--rate %q: give a number of objects in a second, as in 50/s", text)
	}
	return rate, nil
}

// credential returns the credential of MinIO that a command is to use, nil for the proxy's own.
func credential(c *config.Config, as, secretIn string) (*storage.Credential, error) {
	if as == "" {
		return nil, nil
	}
	if secretIn != "" {
		text, err := os.ReadFile(secretIn)
		if err != nil {
			return nil, err
		}
		return &storage.Credential{AccessKey: as, SecretKey: strings.TrimRight(string(text), "\r\n")}, nil
	}
	for _, known := range c.Credentials {
		if known.AccessKey == as {
			at := known.AtUpstream()
			return &storage.Credential{AccessKey: at.AccessKey, SecretKey: at.SecretKey.Reveal()}, nil
		}
	}
	return nil, cli.Usage(fmt.Errorf("--as %s: no such credential in the configuration; give --secret-key-file", as))
}

func (f *encryptFlags) run(ctx context.Context, a *cli.App, c *config.Config, server *proxy.Server) (err error) {
	if f.order.As, err = credential(c, f.as, f.secretIn); err != nil {
		return err
	}
	ticker := newTicker(a)
	f.order.Memory = c.SmallObject.Size
	f.order.Left = func(l takeover.Left) { f.left(a, ticker, l) }
	f.order.Progress = func(n takeover.Counts) {
		ticker.say(func() string {
			return fmt.Sprintf("%d objects and versions seen, %d taken over (%s), %d left", n.Seen, n.Done, sizeText(n.DoneBytes), leftOf(&n))
		})
	}
	result, err := server.Taker().Run(ctx, &f.order)
	ticker.end()
	for i := range result.Buckets {
		f.bucket(a, &result.Buckets[i])
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; run it again for the rest")
	}
	if err != nil {
		return err
	}
	return f.verdict(a, result)
}

// left prints an object that stays as it is.
func (f *encryptFlags) left(a *cli.App, ticker *ticker, l takeover.Left) {
	ticker.pause()
	why := ""
	if l.Err != nil {
		why = l.Err.Error()
	}
	if f.json {
		_ = a.PrintJSON(map[string]string{
			"kind": "left", "bucket": l.Bucket, "key": l.Key, "version": l.Version, "reason": string(l.Reason), "error": why,
		})
		return
	}
	if why != "" {
		why = ": " + why
	}
	fmt.Fprintf(a.Stdout, "left %q version %s: %s%s\n", l.Bucket+"/"+l.Key, l.Version, l.Reason, why)
}

// bucket prints what became of a bucket.
func (f *encryptFlags) bucket(a *cli.App, b *takeover.Bucket) {
	if f.json {
		left := b.Left
		if left == nil {
			left = map[takeover.Reason]int64{}
		}
		_ = a.PrintJSON(map[string]any{
			"kind": "bucket", "bucket": b.Name, "versions": b.Seen, "encrypted": b.Sealed, "plain": b.Plain, "minio_encrypted": b.Own,
			"bytes": b.Bytes, "done": b.Done, "done_bytes": b.DoneBytes, "new_etags": b.NewETags, "left": left, "clean": b.Clean,
		})
		return
	}
	fmt.Fprintf(a.Stdout, "bucket %q: %d objects and versions; found %d plain and %d encrypted by MinIO, %s", b.Name, b.Seen, b.Plain, b.Own, sizeText(b.Bytes))
	if !f.order.DryRun {
		fmt.Fprintf(a.Stdout, "; taken over %d, %s, %d of them with another ETag", b.Done, sizeText(b.DoneBytes), b.NewETags)
	}
	var reasons []string
	for reason, n := range b.Left {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, reason))
	}
	if slices.Sort(reasons); len(reasons) > 0 {
		fmt.Fprintf(a.Stdout, "; left: %s", strings.Join(reasons, ", "))
	}
	fmt.Fprintln(a.Stdout)
}

// verdict says whether anything is left that MinIO can read.
func (f *encryptFlags) verdict(a *cli.App, r *takeover.Result) error {
	text := fmt.Sprintf("nothing readable is left in %d buckets", len(r.Buckets))
	switch {
	case !r.Clean() && f.order.DryRun:
		text = "nothing was changed"
	case !r.Clean():
		var stay int64
		for i := range r.Buckets {
			stay += r.Buckets[i].Seen - r.Buckets[i].Sealed
		}
		return fmt.Errorf("%d objects and versions stay readable at MinIO", stay)
	case r.Others > 0:
		text += fmt.Sprintf(": they can be taken out of plain_read, which lists %d others", r.Others)
	default:
		text += ": plain_read can go"
	}
	if f.json {
		return a.PrintJSON(map[string]any{"kind": "summary", "buckets": len(r.Buckets), "clean": r.Clean(), "others": r.Others, "text": text})
	}
	fmt.Fprintln(a.Stdout, text)
	return nil
}

func leftOf(n *takeover.Counts) (sum int64) {
	for _, one := range n.Left {
		sum += one
	}
	return sum
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	units, value := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}, float64(n)
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	unit := ""
	for _, unit = range units {
		if value /= 1024; value < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
