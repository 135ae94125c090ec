package keycmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
)

func keyUsageCommand(a *cli.App) *cobra.Command {
	var buckets []string
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "usage [NAME]",
		Short: "Count the objects that lie under a KMS key",
		Long: `Count objects, all their versions, and uploads that are under way by bucket, mode of encryption and
version of the KMS key that their keys lie under; without a name, of all KMS keys, and what has
none. All that a scan of the buckets finds is counted. What was written since the scan began may be
missing: no number says that a key is not used. Objects whose records cannot be read may lie under
any key; they are named. What the proxies keep for themselves has the mode "system".

It needs the proxy's configuration, and MinIO. No key is opened.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := &maintenance.UsageOf{Buckets: buckets, Key: strings.Join(args, "")}
			if list {
				o.Found = func(u maintenance.Used) { printUsed(a, &u) }
			}
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				u, err := server.Keeper().Usage(ctx, o)
				if err != nil {
					return err
				}
				if asJSON || list {
					return a.PrintJSON(usageJSON(u))
				}
				return printUsage(a.Stdout, u)
			})
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().StringSliceVar(&buckets, "bucket", nil, "only buckets that match these patterns")
	cmd.Flags().BoolVar(&list, "list", false, "print a line of JSON for each object, and one with the counts")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the counts as JSON")
	return cmd
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
	}{u.Name.Bucket, u.Name.Key, u.Version, u.Upload, u.Mode.String(), u.KMSKey, u.KMSKeyVersion, u.Size})
}

// usageCount is one row of a usage.
type usageCount struct {
	KMSKey        string `json:"kms_key,omitempty"`
	KMSKeyVersion uint32 `json:"kms_key_version,omitempty"`
	Bucket        string `json:"bucket"`
	Mode          string `json:"mode"`
	Objects       int64  `json:"objects"`
	Bytes         int64  `json:"stored_bytes"`
	Uploads       int64  `json:"uploads"`
}

func usageCounts(u *maintenance.Usage) []usageCount {
	keys := slices.SortedFunc(maps.Keys(u.Counts), func(a, b maintenance.UsageKey) int {
		return cmp.Or(cmp.Compare(a.KMSKey, b.KMSKey), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Mode, b.Mode))
	})
	rows := make([]usageCount, 0, len(keys))
	for _, at := range keys {
		n := u.Counts[at]
		mode := at.Mode.String()
		if at.Bucket == u.SystemBucket {
			mode = "system"
		}
		rows = append(rows, usageCount{at.KMSKey, at.Version, at.Bucket, mode, n.Objects, n.Bytes, n.Uploads})
	}
	return rows
}

func usageJSON(u *maintenance.Usage) any {
	type unknown struct {
		Bucket    string `json:"bucket"`
		Key       string `json:"key"`
		VersionID string `json:"version_id,omitempty"`
		Error     string `json:"error"`
	}
	out := struct {
		Began        time.Time    `json:"began"`
		Ended        time.Time    `json:"ended"`
		Buckets      []string     `json:"buckets"`
		Counts       []usageCount `json:"counts"`
		UnknownCount int64        `json:"unknown_count"`
		Unknown      []unknown    `json:"unknown"`
	}{u.Began.UTC(), u.Ended.UTC(), u.Buckets, usageCounts(u), u.UnknownCount, []unknown{}}
	for _, one := range u.Unknown {
		out.Unknown = append(out.Unknown, unknown{one.Name.Bucket, one.Name.Key, one.Version, one.Err.Error()})
	}
	return out
}

func printUsage(w io.Writer, u *maintenance.Usage) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KMS KEY\tVERSION\tBUCKET\tMODE\tOBJECTS\tSTORED BYTES\tUPLOADS")
	for _, row := range usageCounts(u) {
		key, version := row.KMSKey, fmt.Sprint(row.KMSKeyVersion)
		if key == "" {
			key, version = "-", "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", key, version, row.Bucket, row.Mode, row.Objects, row.Bytes, row.Uploads)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range u.Unknown {
		fmt.Fprintf(w, "not known, may lie under any key: %s/%s %s: %v\n", one.Name.Bucket, one.Name.Key, one.Version, one.Err)
	}
	if more := u.UnknownCount - int64(len(u.Unknown)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(w, "scanned %d buckets, all versions, from %s to %s; what was written since is not counted\n",
		len(u.Buckets), u.Began.UTC().Format(time.RFC3339), u.Ended.UTC().Format(time.RFC3339))
	return err
}
