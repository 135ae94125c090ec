package main

import (
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
)

func (a *app) healthCommand() *cobra.Command {
	var address string
	var skipVerify bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running server whether it is ready",
		Long: `Exits with 0 if the server answers, and MinIO and the key service answer it; with 1
otherwise. Made for container health checks. An address without a scheme is asked by HTTP, and
by HTTPS if the server wants that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				address = a.getenv("BUCKETSEAL_ADDRESS")
			}
			if address == "" {
				address = ":8080"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			if err := askReady(ctx, address, skipVerify); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.stdout, "ready")
			return err
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "HOST:PORT or URL of the server (default :8080) ($BUCKETSEAL_ADDRESS)")
	cmd.Flags().BoolVar(&skipVerify, "tls-skip-verify", false, "accept any server certificate")
	return cmd
}

var errWantsTLS = errors.New("the server speaks TLS")

// askReady asks the server's readiness path.
func askReady(ctx context.Context, address string, skipVerify bool) error {
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
	err := askReadyBy(ctx, client, "http", address)
	if errors.Is(err, errWantsTLS) {
		err = askReadyBy(ctx, client, "https", address)
	}
	return err
}

func askReadyBy(ctx context.Context, client *http.Client, scheme, address string) error {
	// A server that listens everywhere listens here.
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/minio/health/ready", nil)
	if err != nil {
		return usageError{fmt.Errorf("%q is no address; write HOST:PORT or a URL", address)}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case scheme == "http" && resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "HTTPS server"):
		return errWantsTLS // net/http's answer to plain HTTP on a TLS port
	}
	return fmt.Errorf("%s is not ready: it answers %s", address, resp.Status)
}
