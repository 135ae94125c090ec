package keycmd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/client"
	"github.com/bucketseal/bucketseal/kms/identity"
)

// IdentityCommand is `bucketseal identity`.
func IdentityCommand(a *cli.App) *cobra.Command {
	return cli.Group("identity", "Make and look at identities of key server clients",
		IdentityNewCommand(a),
		IdentityOfCommand(a),
		IdentityListCommand(a),
		IdentityInfoCommand(a),
	)
}

// newCertificate is what `identity new` is asked for.
type newCertificate struct {
	keyFile, certFile string
	expiry            time.Duration
	ips               []net.IP
	dns               []string
	force             bool
}

// IdentityNewCommand is `bucketseal identity new`.
func IdentityNewCommand(a *cli.App) *cobra.Command {
	var n newCertificate
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new [NAME]",
		Short: "Make an API key, or with --key and --cert a private key and its certificate",
		Long: `Prints a new API key and its identity, which goes into a key server's policy. With --key
and --cert it writes a private key and a self-signed certificate instead; with --ip or --dns
a server can use that too.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if n.keyFile == "" && n.certFile == "" {
				if n.dns != nil || n.ips != nil || len(args) > 0 {
					return cli.Usage(errors.New("a name, --ip and --dns are for certificates; give --key and --cert too"))
				}
				return newAPIKey(a, asJSON)
			}
			if n.keyFile == "" || n.certFile == "" {
				return cli.Usage(errors.New("give both --key and --cert"))
			}
			id, err := n.write(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return PrintIdentity(a, asJSON, "", id)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&n.keyFile, "key", "", "write the private key to this file")
	flags.StringVar(&n.certFile, "cert", "", "write the certificate to this file")
	flags.DurationVar(&n.expiry, "expiry", 10*365*24*time.Hour, "how long the certificate is valid")
	flags.IPSliceVar(&n.ips, "ip", nil, "IP addresses of a server")
	flags.StringSliceVar(&n.dns, "dns", nil, "host names of a server")
	flags.BoolVarP(&n.force, "force", "f", false, "overwrite files")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newAPIKey(a *cli.App, asJSON bool) error {
	key := identity.New()
	return PrintIdentity(a, asJSON, key.Reveal(), key.Identity())
}

// PrintIdentity prints an identity, and the API key if there is one: the only
// place where one is shown.
func PrintIdentity(a *cli.App, asJSON bool, apiKey string, id identity.Identity) error {
	if asJSON {
		return a.PrintJSON(struct {
			APIKey   string `json:"api_key,omitempty"`
			Identity string `json:"identity"`
		}{apiKey, id.String()})
	}
	if apiKey != "" {
		fmt.Fprintf(a.Stdout, "API key:  %s\n", apiKey)
	}
	fmt.Fprintf(a.Stdout, "identity: %s\n", id)
	if apiKey != "" {
		fmt.Fprintln(a.Stderr, "Keep the API key secret: it is shown this once. The identity is public; a policy names it.")
	}
	return nil
}

// write makes the key and a self-signed certificate of it.
func (n *newCertificate) write(name string) (identity.Identity, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(n.expiry),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: n.ips, DNSNames: n.dns, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	defer clear(secret)
	files := []newFile{
		{n.keyFile, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})},
		{n.certFile, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})},
	}
	defer clear(files[0].content)
	if err := writeFiles(files, n.force); err != nil {
		return "", err
	}
	return identity.Of(cert), nil
}

// IdentityOfCommand is `bucketseal identity of`.
func IdentityOfCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "of [FILE]",
		Short: "Show the identity of a certificate or an API key",
		Long: `Reads a certificate (PEM) or an API key from FILE; from the standard input with "-". Without
FILE it is the API key in MINIO_KES_API_KEY, or the certificate that MINIO_KES_CERT_FILE names.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := identityOf(a, args)
			if err != nil {
				return err
			}
			if asJSON {
				return PrintIdentity(a, true, "", id)
			}
			_, err = fmt.Fprintln(a.Stdout, id)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func identityOf(a *cli.App, args []string) (identity.Identity, error) {
	if len(args) > 0 && strings.HasPrefix(args[0], "kes:") {
		return "", cli.Usage(errors.New("an API key on the command line can be read by every user of this machine; give it on the standard input: identity of -"))
	}
	if len(args) == 0 {
		if text := a.Getenv("MINIO_KES_API_KEY", "KES_API_KEY"); text != "" {
			key, err := identity.ParseAPIKey(text)
			return key.Identity(), err
		}
		file := a.Getenv("MINIO_KES_CERT_FILE", "KES_CLIENT_CERT")
		if file == "" {
			return "", cli.Usage(errors.New("give a file, or set MINIO_KES_API_KEY or MINIO_KES_CERT_FILE"))
		}
		args = []string{file}
	}
	data, err := readInput(a, args)
	if err != nil {
		return "", err
	}
	defer clear(data)
	block, rest := pem.Decode(data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", fmt.Errorf("certificate: %w", err)
		}
		return identity.Of(cert), nil
	}
	key, err := identity.ParseAPIKey(strings.TrimSpace(string(data)))
	if err != nil {
		return "", errors.New("this is neither a certificate in PEM nor an API key")
	}
	return key.Identity(), nil
}

// IdentityListCommand is `bucketseal identity ls`.
func IdentityListCommand(a *cli.App) *cobra.Command {
	return namesCommand(a, "ls [PREFIX]", "List the identities that a key server knows", (*client.Client).ListIdentities)
}

// IdentityInfoCommand is `bucketseal identity info`.
func IdentityInfoCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info [IDENTITY]",
		Short: "Show what a key server knows of an identity, or of yours",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				ask := c.DescribeSelf
				if len(args) > 0 {
					ask = func(ctx context.Context) (client.Identity, error) { return c.DescribeIdentity(ctx, args[0]) }
				}
				info, err := ask(ctx)
				if err != nil {
					return err
				}
				return printIdentityInfo(a, asJSON, info)
			})
		},
	}
	RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printIdentityInfo(a *cli.App, asJSON bool, i client.Identity) error {
	if asJSON {
		return a.PrintJSON(struct {
			Identity  string   `json:"identity"`
			Admin     bool     `json:"admin,omitempty"`
			Policy    string   `json:"policy,omitempty"`
			CreatedAt jsonTime `json:"created_at,omitzero"`
			CreatedBy string   `json:"created_by,omitempty"`
			Allow     []string `json:"allow,omitempty"`
			Deny      []string `json:"deny,omitempty"`
		}{i.Identity, i.Admin, i.Policy, jsonTime(i.CreatedAt), i.CreatedBy, i.Allow, i.Deny})
	}
	role := "policy:     " + i.Policy
	if i.Admin {
		role = "role:       admin"
	}
	fmt.Fprintf(a.Stdout, "identity:   %s\n%s\n", i.Identity, role)
	printOrigin(a, i.CreatedAt, i.CreatedBy)
	printRules(a, i.Allow, i.Deny)
	return nil
}
