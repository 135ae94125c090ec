package proxycmd

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/keyuse"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// errAudit says that an audit log is not as it was written.
var errAudit = errors.New("the audit log is not as it was written")

// AuditCommand is `bucketseal audit`.
func AuditCommand(a *cli.App) *cobra.Command {
	return cli.Group("audit", "Verify audit logs, and search in them", auditVerifyCommand(a), auditSearchCommand(a))
}

// auditVerify is what the command line of audit verify says.
type auditVerify struct {
	public, heads     []string
	chainOnly, asJSON bool
}

func auditVerifyCommand(a *cli.App) *cobra.Command {
	var v auditVerify
	cmd := &cobra.Command{
		Use:   "verify [FILE...]",
		Short: "Say whether an audit log is as it was written, and name the first line that is not",
		Long: `Reads files of an audit log, former ones too, in any order; without a name those of
audit.file.path. Every line must follow the one before it, bear the code of the log's key, and be
signed as far as heads were. What is wrong is printed, the first line first: changed, removed,
inserted, reordered, cut off, forged, or unsigned. The exit code is 1 then.

The key comes from the key service of the configuration (--config). Who has none gives the log's
public key (--public-key), which this command prints for who has: then the first wrong line is named
if its hashes were not made anew, else the lines between two heads. FILE.head, beside each file, and
what --head names are heads that the log must not be shorter than.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			return v.run(cmd.Context(), a, c, names)
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&v.public, "public-key", nil, "public key of the log, in base64, in place of the key service; may be repeated")
	flags.StringArrayVar(&v.heads, "head", nil, "file of heads that were kept elsewhere: a copy of FILE.head, or lines from syslog; may be repeated")
	flags.BoolVar(&v.chainOnly, "chain-only", false, "use no key: say only whether lines fit together, which whoever writes all of them can achieve")
	flags.BoolVar(&v.asJSON, "json", false, "print the report as JSON")
	_ = cmd.MarkFlagFilename("head")
	return cmd
}

func (v *auditVerify) run(ctx context.Context, a *cli.App, c *config.Config, names []string) error {
	names, err := auditFiles(c, names)
	if err != nil {
		return err
	}
	files, heads, err := splitHeads(names, v.heads)
	if err != nil {
		return err
	}
	o := trail.Options{Heads: heads}
	publics := make(map[string]bool)
	switch {
	case v.chainOnly:
	case len(v.public) > 0:
		for _, text := range v.public {
			key, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(key) != ed25519.PublicKeySize {
				return cli.Usage(fmt.Errorf("--public-key %q is no public key in base64", text))
			}
			o.Trust = append(o.Trust, key)
		}
	default:
		if err := c.CheckKeys(); err != nil {
			return fmt.Errorf("no key to verify with: give --config, --public-key or --chain-only (%w)", err)
		}
		keys, err := build.OpenKeys(ctx, a, c, false, build.Logger(a, c.Log))
		if err != nil {
			return err
		}
		defer keys.Close()
		o.Open = func(sealed []byte, kmsKey string) (*audit.Key, error) {
			key, err := keyuse.Open(ctx, keys, kmsKey, c.Deployment, sealed)
			if err == nil {
				publics[base64.StdEncoding.EncodeToString(key.Public())] = true
			}
			return key, err
		}
	}
	report, err := trail.Verify(files, o)
	if err != nil {
		return err
	}
	return v.print(a, report, publics)
}

// auditReport is a report as JSON.
type auditReport struct {
	Lines      uint64         `json:"lines"`
	Signed     uint64         `json:"signed"`
	Chains     int            `json:"chains"`
	Authentic  bool           `json:"authentic"`
	PublicKeys []string       `json:"public_keys,omitempty"`
	Findings   []auditFinding `json:"findings"`
	Notes      []string       `json:"notes"`
}

type auditFinding struct {
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	Chain string `json:"chain,omitempty"`
	Seq   uint64 `json:"seq,omitempty"`
	What  string `json:"what"`
	Text  string `json:"text"`
}

func (v *auditVerify) print(a *cli.App, r *trail.Report, publics map[string]bool) error {
	out := auditReport{Lines: r.Lines, Signed: r.Signed, Chains: r.Chains, Authentic: r.Authentic, Findings: []auditFinding{}, Notes: []string{}}
	for key := range publics {
		out.PublicKeys = append(out.PublicKeys, key)
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, auditFinding{f.File, f.Number, f.Chain, f.Seq, f.What, f.Text})
	}
	for _, n := range r.Notes {
		out.Notes = append(out.Notes, n.String())
	}
	if v.asJSON {
		if err := a.PrintJSON(out); err != nil {
			return err
		}
	} else {
		for _, f := range r.Findings {
			fmt.Fprintln(a.Stdout, f)
		}
		for _, n := range out.Notes {
			fmt.Fprintln(a.Stdout, "note:", n)
		}
		for _, key := range out.PublicKeys {
			fmt.Fprintln(a.Stdout, "public key:", key)
		}
		fmt.Fprintf(a.Stdout, "%d lines in %d chains, %d signed\n", r.Lines, r.Chains, r.Signed)
		if !r.Authentic {
			fmt.Fprintln(a.Stdout, "whose they are is not proven: no line bears a signature of a key that is known")
		}
	}
	switch {
	case len(r.Findings) > 0:
		return errAudit
	case !r.Authentic && !v.chainOnly && r.Lines > 0:
		return fmt.Errorf("%w, or was never signed", errAudit)
	}
	return nil
}

// auditFiles returns the files that are named, or those of the configuration.
func auditFiles(c *config.Config, names []string) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	if c.Audit.File.Path == "" {
		return nil, cli.Usage(errors.New("name the files of the audit log, or a configuration with audit.file.path"))
	}
	return trail.Files(c.Audit.File.Path)
}

// splitHeads returns files of lines, and the lines of those that keep heads: those that are
// named, and those beside the files.
func splitHeads(names, kept []string) (files []string, heads [][]byte, err error) {
	beside := make(map[string]bool)
	for _, name := range names {
		if strings.HasSuffix(name, sink.HeadSuffix) {
			beside[name] = true
			continue
		}
		files = append(files, name)
		if _, err := os.Stat(name + sink.HeadSuffix); err == nil {
			beside[name+sink.HeadSuffix] = true
		}
	}
	for _, name := range kept {
		beside[name] = true
	}
	for name := range beside {
		data, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		for text := range strings.Lines(string(data)) {
			if i := strings.Index(text, `{"seq":`); i > 0 { // what syslog put before it
				text = text[i:]
			}
			heads = append(heads, []byte(strings.TrimRight(text, "\r\n")))
		}
	}
	return files, heads, nil
}

func auditSearchCommand(a *cli.App) *cobra.Command {
	var q trail.Query
	var since, until string
	cmd := &cobra.Command{
		Use:   "search [FILE...]",
		Short: "Print the lines of an audit log that are about an object, an access key or a KMS key",
		Long: `Prints lines of an audit log, the last ones, as JSON and in their order; without a name of a file
those of audit.file.path. It does not verify them: audit verify does.`,
		RunE: func(cmd *cobra.Command, names []string) (err error) {
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			now := time.Now()
			if q.Since, err = readSince(since, now); err != nil {
				return cli.Usage(err)
			}
			if q.Until, err = readSince(until, now); err != nil {
				return cli.Usage(err)
			}
			if names, err = auditFiles(c, names); err != nil {
				return err
			}
			lines, more, err := trail.Search(cmd.Context(), names, q)
			for _, l := range lines {
				if err := a.PrintJSON(l); err != nil {
					return err
				}
			}
			if more {
				fmt.Fprintf(a.Stderr, "there are more lines before these; see --limit, --since and --until\n")
			}
			return err
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&q.Bucket, "bucket", "", "bucket")
	flags.StringVar(&q.Target, "target", "", "account, group, policy or key that an administrator's request named, or its beginning and *")
	flags.StringVar(&q.Object, "object", "", "object's name, or its beginning and *")
	flags.StringVar(&q.AccessKey, "access-key", "", "access key that asked, or vouches for the one that did")
	flags.StringVar(&q.KMSKey, "kms-key", "", "KMS key that was used")
	flags.StringVar(&q.Request, "request", "", "id of a request")
	flags.StringVar(&q.Kind, "kind", "", "kind of line: request, intent, begin, object, key or act")
	flags.StringVar(&q.Operation, "operation", "", "operation, as in GetObject")
	flags.StringVar(&q.Outcome, "outcome", "", "outcome: ok, refused, failed or cut")
	flags.StringVar(&since, "since", "", "leave out what is older: a date, a time as in RFC 3339, or a duration as in 24h")
	flags.StringVar(&until, "until", "", "leave out what is younger, as --since")
	flags.IntVar(&q.Limit, "limit", 1000, "print so many lines at most, the last ones")
	return cmd
}
