package proxycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/offline"
)

// decryptOptions are the flags of `object decrypt`.
type decryptOptions struct {
	from             string
	heads            []string
	keys             build.OfflineKeys
	customerKeys     []string
	output, file     string
	force, skip      bool
	versions, asJSON bool
	unproven         bool
}

func objectDecryptCommand(a *cli.App) *cobra.Command {
	var o decryptOptions
	cmd := &cobra.Command{
		Use:   "decrypt --from DIR --output DIR [BUCKET | BUCKET/KEY | BUCKET/PREFIX*]...",
		Short: "Decrypt objects from a copy of the raw buckets, without MinIO and without a server",
		Long: `Decrypt objects from a copy of MinIO's raw buckets, with a key backup or the key store. Neither
MinIO nor a proxy needs to run: this is for when all else is gone.

--from is one of
  the data folder of a MinIO with one drive, as it lies on disk
  a folder of files BUCKET/KEY, as "mc mirror" makes it. Files have no metadata, without which an
  object cannot be read: save them too, with "mc stat --recursive --json ALIAS > heads.jsonl", and
  give --heads heads.jsonl. Or save one object's beside it as KEY.head.json, by "mc stat --json" or
  "aws s3api head-object". Attributes of files that "rclone --metadata" made are read as well.
Objects of parts need the copy of the system bucket beside the others.

Nothing is written that did not authenticate: an output is there whole, or not at all. The exit code
is 1 if anything could not be opened. What a copy lacks altogether, nobody can tell.`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, a, args) },
	}
	cli.ConfigFlags(cmd, "data-dir")
	o.keys.Flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "the copy of the raw buckets")
	flags.StringArrayVar(&o.heads, "heads", nil, "file with the metadata of a copy's objects, as \"mc stat --recursive --json ALIAS\" prints them (repeatable)")
	flags.StringArrayVar(&o.customerKeys, "customer-key-file", nil, "file with a customer key of SSE-C objects, in base64 (repeatable)")
	flags.StringVarP(&o.output, "output", "o", "", "the folder to write BUCKET/KEY to")
	flags.StringVar(&o.file, "output-file", "", "the file to write, for one object")
	flags.BoolVar(&o.versions, "all-versions", false, "also versions that are not current, as BUCKET@versions/KEY/VERSION")
	flags.BoolVar(&o.unproven, "unproven", false, "also objects of parts whose manifest is lost: nobody vouches that no part is missing, or of an earlier upload")
	flags.BoolVar(&o.force, "force", false, "replace files that exist")
	flags.BoolVar(&o.skip, "skip-existing", false, "leave files that exist, to go on after an interruption")
	flags.BoolVar(&o.asJSON, "json", false, "print a line of JSON for each object, and one with the counts at the end")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagDirname("from")
	_ = cmd.MarkFlagDirname("output")
	cmd.MarkFlagsMutuallyExclusive("output", "output-file")
	cmd.MarkFlagsOneRequired("output", "output-file")
	cmd.MarkFlagsMutuallyExclusive("force", "skip-existing")
	return cmd
}

func (o *decryptOptions) run(cmd *cobra.Command, a *cli.App, args []string) error {
	var want []offline.Selection
	for _, text := range args {
		s, err := offline.ParseSelection(text)
		if err != nil {
			return cli.Usage(err)
		}
		want = append(want, s)
	}
	if o.file != "" && (len(want) != 1 || want[0].All || o.versions) {
		return cli.Usage(errors.New("--output-file is for one object: name it, as BUCKET/KEY"))
	}
	from, err := build.OpenCopy(o.from, o.heads)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	keys, settings, err := o.keys.Open(cmd, a)
	if err != nil {
		return err
	}
	defer keys.Close()
	reader, err := o.reader(keys, settings, from)
	if err != nil {
		return err
	}
	write, done, err := o.writeTo()
	if err != nil {
		return err
	}
	defer done()
	batch := &offline.Batch{
		Reader: reader, From: from, To: write, Want: want, SystemBucket: settings.SystemBucket, Versions: o.versions,
		Done: func(r *offline.Result) { o.print(a, r) },
	}
	counts, err := batch.Run(cmd.Context())
	return o.sum(a, counts, err)
}

func (o *decryptOptions) reader(keys *build.Keys, settings *config.Config, from offline.Source) (*offline.Reader, error) {
	options := build.OfflineOptions(keys, settings, offline.SystemObjects(from, settings.SystemBucket))
	options.Unproven = o.unproven
	for _, name := range o.customerKeys {
		key, err := readCustomerKey(name)
		if err != nil {
			return nil, err
		}
		options.CustomerKeys = append(options.CustomerKeys, *key)
		key.Zero()
	}
	return offline.New(options)
}

// writeTo returns what writes files, and what ends it.
func (o *decryptOptions) writeTo() (write func(*offline.Object, func(io.Writer) error) (string, error), done func(), err error) {
	dir, file := o.output, ""
	if o.file != "" {
		dir, file = filepath.Dir(o.file), filepath.Base(o.file)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = root.Close() }
	tree := &offline.Tree{Root: root, Force: o.force, SkipExisting: o.skip}
	if file == "" {
		return tree.Write, done, nil
	}
	return func(object *offline.Object, write func(io.Writer) error) (string, error) {
		return file, tree.WriteFile(file, object.Modified, write)
	}, done, nil
}

// decrypted is what became of an object, as commands print it.
type decrypted struct {
	Bucket   string              `json:"bucket"`
	Key      string              `json:"key"`
	Version  string              `json:"version,omitempty"`
	Current  bool                `json:"current"`
	Status   string              `json:"status"` // ok, skipped or failed
	Error    string              `json:"error,omitempty"`
	File     string              `json:"file,omitempty"`
	Size     int64               `json:"size"`
	ETag     string              `json:"etag,omitempty"`
	Mode     string              `json:"mode,omitempty"`
	KMSKey   string              `json:"kms_key,omitempty"`
	Restored bool                `json:"restored,omitempty"`
	Unproven bool                `json:"unproven,omitempty"`
	Modified *time.Time          `json:"modified,omitempty"`
	Metadata map[string][]string `json:"metadata,omitempty"`
}

func (o *decryptOptions) print(a *cli.App, r *offline.Result) {
	v := decrypted{
		Bucket: r.Object.Name.Bucket, Key: r.Object.Name.Key, Version: r.Object.Version, Current: r.Object.Latest, Status: "ok",
		File: r.File, Size: r.Size, Metadata: r.Object.Meta,
	}
	if !r.Object.Modified.IsZero() {
		v.Modified = &r.Object.Modified
	}
	if r.Opened != nil {
		v.ETag, v.Mode, v.KMSKey = offline.Unquoted(r.Opened.ETag), r.Opened.Record.Mode.String(), r.Opened.Record.KMSKey
		v.Restored, v.Unproven = r.Opened.Restored, r.Opened.Unproven
	}
	switch {
	case errors.Is(r.Err, offline.ErrSkipped):
		v.Status = "skipped"
	case r.Err != nil:
		v.Status, v.Error, v.File = "failed", r.Err.Error(), ""
	}
	if o.asJSON {
		_ = a.PrintJSON(v) // the output keeps its error
		return
	}
	if v.Status == "failed" {
		version := ""
		if !v.Current {
			version = ", version " + v.Version
		}
		fmt.Fprintf(a.Stderr, "%q%s: %s\n", v.Bucket+"/"+v.Key, version, v.Error)
	}
}

// sum prints the counts, and says whether all is well.
func (o *decryptOptions) sum(a *cli.App, c offline.Counts, err error) error {
	if o.asJSON {
		_ = a.PrintJSON(struct {
			Decrypted int64 `json:"decrypted"`
			Bytes     int64 `json:"bytes"`
			Restored  int64 `json:"restored"`
			Unproven  int64 `json:"unproven"`
			Skipped   int64 `json:"skipped"`
			Plain     int64 `json:"without_record"`
			Locked    int64 `json:"customer_key_missing"`
			Failed    int64 `json:"failed"`
		}{c.Decrypted, c.Bytes, c.Restored, c.Unproven, c.Skipped, c.Plain, c.Locked, c.Failed})
	} else {
		fmt.Fprintf(a.Stdout, "%d decrypted, %d bytes", c.Decrypted, c.Bytes)
		for _, more := range []struct {
			n    int64
			what string
		}{{c.Unproven, "of them unproven"}, {c.Skipped, "there already"}, {c.Plain, "without a record"}, {c.Locked, "without their customer key"}, {c.Failed, "failed"}} {
			if more.n > 0 {
				fmt.Fprintf(a.Stdout, ", %d %s", more.n, more.what)
			}
		}
		fmt.Fprintln(a.Stdout)
	}
	switch lost := c.Lost(); {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; --skip-existing goes on")
	case err != nil:
		return err
	case lost > 0:
		return fmt.Errorf("%d objects could not be decrypted", lost)
	case c.Decrypted+c.Skipped == 0:
		return errors.New("nothing was found to decrypt")
	}
	return nil
}
