package keycmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
)

// defaultKeyServer is where a key server listens if nothing else is said.
const defaultKeyServer = "https://127.0.0.1:7373"

// RemoteFlags adds the flags that say which key server is meant, and how it is
// known. Who we are comes from the environment only: what stands on a command
// line can be read by every user of the machine.
func RemoteFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringP("server", "s", "", "key server, HOST:PORT, several separated by commas ($MINIO_KES_SERVER)")
	flags.String("ca", "", "PEM file or folder of the authorities that sign its certificate ($MINIO_KES_CAPATH)")
	flags.BoolP("insecure", "k", false, "accept any server certificate")
}

// remoteServer returns the server that flags or environment name, or "".
func remoteServer(a *cli.App, cmd *cobra.Command) string {
	if s, err := cmd.Flags().GetString("server"); err == nil && s != "" {
		return s
	}
	return a.Getenv("MINIO_KES_SERVER", "KES_SERVER")
}

// NewClient returns a client of the key server.
func NewClient(a *cli.App, cmd *cobra.Command) (*client.Client, error) {
	server := remoteServer(a, cmd)
	if server == "" {
		server = defaultKeyServer
	}
	ca, _ := cmd.Flags().GetString("ca")
	if ca == "" {
		ca = a.Getenv("MINIO_KES_CAPATH")
	}
	insecure, _ := cmd.Flags().GetBool("insecure")
	o := client.Options{
		Endpoints: strings.Split(server, ","), CAPath: ca, InsecureSkipVerify: insecure,
		APIKey:      a.Getenv("MINIO_KES_API_KEY", "KES_API_KEY"),
		CertFile:    a.Getenv("MINIO_KES_CERT_FILE", "KES_CLIENT_CERT"),
		KeyFile:     a.Getenv("MINIO_KES_KEY_FILE", "KES_CLIENT_KEY"),
		KeyPassword: a.Getenv("MINIO_KES_KEY_PASSWORD"),
	}
	if file := a.Getenv("MINIO_KES_API_KEY_FILE"); file != "" && o.APIKey == "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("MINIO_KES_API_KEY_FILE: %w", err)
		}
		o.APIKey = strings.TrimSpace(string(data))
	}
	if key, err := cmd.Flags().GetString("api-key"); err == nil && key != "" {
		a.WarnOfArgument("an API key")
		o.APIKey = key
	}
	if o.APIKey != "" { // as kes does: the key wins over a certificate
		o.CertFile, o.KeyFile = "", ""
	} else if o.CertFile == "" || o.KeyFile == "" {
		return nil, errors.New("nothing says who you are to the key server; set MINIO_KES_API_KEY or MINIO_KES_API_KEY_FILE, or MINIO_KES_CERT_FILE and MINIO_KES_KEY_FILE")
	}
	return client.New(o)
}

// withClient calls f with the key server's client.
func withClient(a *cli.App, cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) error {
	c, err := NewClient(a, cmd)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(cmd.Context(), c)
}

// sayWhere tells a person which of several key stores was meant. Scripts read it in
// errors only.
func sayWhere(a *cli.App, where string) {
	if cli.IsTerminal(a.Stderr) {
		fmt.Fprintln(a.Stderr, "keys in", where)
	}
}

// keyFlags adds the flags that say which key service is meant.
func keyFlags(cmd *cobra.Command) {
	cli.ConfigFlags(cmd, "data-dir")
	RemoteFlags(cmd)
}

// initFlag makes a key store that is not there. Without, a mistyped path would
// get a store of its own, and keys that nobody finds again.
const initFlag = "init"

// newStoreFlag is for commands that put keys into a store.
func newStoreFlag(cmd *cobra.Command) {
	cmd.Flags().Bool(initFlag, false, "make the key store if there is none")
}

// WithKeys calls f with the key service that is meant: a key server, if one is
// named and neither --data-dir nor --config is given; else the one that the
// proxy's configuration names. With create the latter may be made, if --init asks
// for it.
func WithKeys(a *cli.App, cmd *cobra.Command, create bool, f func(ctx context.Context, keys kms.Service) error) error {
	flags := cmd.Flags()
	local := flags.Changed("data-dir") || flags.Changed("config")
	if flags.Changed("server") && local {
		return cli.Usage(errors.New("--server cannot be given with --data-dir or --config"))
	}
	if a.KES && local {
		return cli.Usage(errors.New("kes commands speak to a key server; for --data-dir and --config say bucketseal key"))
	}
	if a.KES || !local && remoteServer(a, cmd) != "" {
		where := cmp.Or(remoteServer(a, cmd), defaultKeyServer)
		// Errors of a server name it.
		if err := withClient(a, cmd, func(ctx context.Context, c *client.Client) error { return f(ctx, c) }); err != nil {
			return err
		}
		sayWhere(a, where)
		return nil
	}
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return err
	}
	if err := c.CheckKeys(); err != nil {
		return fmt.Errorf("%w; or name a key server with --server or MINIO_KES_SERVER", err)
	}
	log := slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	init, _ := flags.GetBool(initFlag)
	keys, err := build.OpenKeys(cmd.Context(), a, c, create && init, log)
	if create && !init && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; the server makes a key store when it first starts, and --%s makes one now: look at the path twice", err, initFlag)
	}
	if err != nil {
		return err
	}
	defer keys.Close()
	if err := f(cmd.Context(), keys); err != nil {
		return fmt.Errorf("keys in %s: %w", keys.Where, err)
	}
	sayWhere(a, keys.Where)
	return nil
}
