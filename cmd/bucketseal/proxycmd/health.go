package proxycmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

// HealthCommand is `bucketseal health`.
func HealthCommand(a *cli.App) *cobra.Command {
	var address string
	var skipVerify bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running server whether it is ready",
		Long: `Exits with 0 if the server answers, and MinIO and the key service do for it what reads and
writes need; with 1 otherwise. Made for container health checks. An address without a scheme is
asked by HTTP, and by HTTPS if the server wants that. A URL may have a path of its own, as
https://HOST:7373/v1/ready for a key server whose api section lets everybody ask it. The S3 address tells nobody why a server is
not ready: give that of metrics.address, or set BUCKETSEAL_METRICS_ADDRESS, to see it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				address = a.Getenv("BUCKETSEAL_ADDRESS")
			}
			if address == "" {
				address = ":8080"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			words, err := askReady(ctx, address, skipVerify)
			if metrics := a.Getenv("BUCKETSEAL_METRICS_ADDRESS"); errors.Is(err, errNotReady) && words == "" && metrics != "" {
				words, _ = askReady(ctx, metrics, skipVerify)
			}
			if err != nil && words != "" {
				return fmt.Errorf("%w; %s", err, words)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, cmp.Or(words, "ready"))
			return err
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "HOST:PORT or URL of the server (default :8080) ($BUCKETSEAL_ADDRESS)")
	cmd.Flags().BoolVar(&skipVerify, "tls-skip-verify", false, "accept any server certificate")
	return cmd
}

var (
	errWantsTLS = errors.New("the server speaks TLS")
	errNotReady = errors.New("not ready")
)

// askReady asks the server's readiness path. words is what it says besides, which
// only metrics.address does.
func askReady(ctx context.Context, address string, skipVerify bool) (words string, err error) {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: skipVerify, //nolint:gosec // asked for by name; nothing secret is sent
		},
		DisableKeepAlives: true,
	}}
	if scheme, host, ok := strings.Cut(address, "://"); ok {
		return askReadyBy(ctx, client, scheme, host)
	}
	words, err = askReadyBy(ctx, client, "http", address)
	if errors.Is(err, errWantsTLS) {
		words, err = askReadyBy(ctx, client, "https", address)
	}
	return words, err
}

func askReadyBy(ctx context.Context, client *http.Client, scheme, address string) (words string, err error) {
	path := "/minio/health/ready"
	if at := strings.IndexByte(address, '/'); at >= 0 {
		if len(address[at:]) > 1 {
			path = address[at:]
		}
		address = address[:at]
	}
	// A server that listens everywhere listens here.
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return "", cli.Usage(fmt.Errorf("%q is no address; write HOST:PORT or a URL", address))
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	words = strings.TrimSpace(string(body))
	switch {
	case resp.StatusCode == http.StatusOK:
		return words, nil
	case scheme == "http" && resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "HTTPS server"):
		return "", errWantsTLS // net/http's answer to plain HTTP on a TLS port
	}
	if resp.StatusCode != http.StatusServiceUnavailable {
		words = "" // of another program
	}
	return words, fmt.Errorf("%s is %w: it answers %s", address, errNotReady, resp.Status)
}
