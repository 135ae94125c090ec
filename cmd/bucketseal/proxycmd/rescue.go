package proxycmd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

func objectRescueCommand(a *cli.App) *cobra.Command {
	var order maintenance.Rescue
	var keyFile string
	cmd := &cobra.Command{
		Use:   "rescue BUCKET/KEY",
		Short: "Make the lost manifest of an object anew",
		Long: `Objects that were uploaded in parts, and the MD5 of large ones, need a manifest in the system
bucket. Where that is lost, this reads the object and writes a manifest of what MinIO has. Every
byte is authenticated. But that these are the parts, in the uploads, that the client put together,
only the lost manifest could have proved: the new one says that it is unproven, and so do the log
and the header X-Bucketseal-Manifest of every answer. Checksums that the client sent are lost.

An object that was restored from a copy made over S3 needs no rescue while one of its upload's
manifests fits it: that is checked here by reading all of it. If none does, give --copied.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ok bool
			if order.Bucket, order.Key, ok = strings.Cut(args[0], "/"); !ok || order.Bucket == "" || order.Key == "" {
				return cli.Usage(fmt.Errorf("%q: give BUCKET/KEY", args[0]))
			}
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			if keyFile != "" {
				if order.Customer, err = readCustomerKey(keyFile); err != nil {
					return err
				}
				defer order.Customer.Zero()
			}
			return rescue(cmd.Context(), a, c, order)
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().StringVar(&order.Version, "version-id", "", "the version of the object; the current one if not given")
	cmd.Flags().BoolVar(&order.Sequential, "sequential", false, "find the parts in the data alone, where MinIO does not list them")
	cmd.Flags().BoolVar(&order.Copied, "copied", false, "the object was restored from a copy made over S3: MinIO's ETag and parts are not the upload's")
	cmd.Flags().BoolVar(&order.Replace, "replace", false, "also where a manifest is there and does not open")
	cmd.Flags().StringVar(&keyFile, "customer-key-file", "", "file with the customer key of an SSE-C object, in base64")
	return cmd
}

// readCustomerKey reads a customer key, as clients send it, from a file.
func readCustomerKey(path string) (*sse.Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != sse.KeySize {
		return nil, fmt.Errorf("%s: not %d bytes in base64", path, sse.KeySize)
	}
	defer clear(raw)
	key := sse.Secret(raw)
	return &key, nil
}

func rescue(ctx context.Context, a *cli.App, c *config.Config, order maintenance.Rescue) error {
	server, done, err := build.OpenServer(ctx, a, c)
	if err != nil {
		return err
	}
	defer done()
	made, err := server.Keeper().Rescue(ctx, order)
	if errors.Is(err, manifest.ErrMissing) || !order.Replace && errors.Is(err, system.ErrTampered) {
		return fmt.Errorf("%w; it is there: --replace writes another in its place", err)
	}
	if err != nil {
		return err
	}
	word := "unproven"
	if made.Proven {
		word = "proven by the object's record"
	}
	fmt.Fprintf(a.Stdout, "%s/%s: %d bytes, %d parts, ETag %s: manifest written, %s\n", order.Bucket, order.Key, made.Size, max(made.Parts, 1), made.ETag, word)
	return nil
}
