package serve

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
)

// Where metrics.address tells the configuration in force, and what the doctor has found.
const (
	configPath   = "/bucketseal/config"
	findingsPath = "/bucketseal/findings"
)

const (
	configScheme = "BUCKETSEAL-HMAC-SHA256 "
	// configSkew is how old or new a question for the configuration may be.
	configSkew = 5 * time.Minute
	// maxConfigPage bounds an answer in bytes.
	maxConfigPage = 4 << 20
)

// ErrOtherCredential says that the server runs with another credential at MinIO than the
// one that asks for its configuration.
var ErrOtherCredential = errors.New("the server refuses to tell: it runs with other upstream.credentials than these, or its clock differs")

// configMAC proves that somebody knows the proxy's secret at MinIO, for one purpose.
func configMAC(c *config.Config, purpose string) []byte {
	mac := hmac.New(sha256.New, []byte(c.Upstream.Credentials.SecretKey.Reveal()))
	mac.Write([]byte("bucketseal configuration\x00" + purpose))
	return mac.Sum(nil)
}

// TagKey is the key of the tags of secrets that servers tell.
func TagKey(c *config.Config) []byte { return configMAC(c, "tags") }

func configProof(c *config.Config, seconds string) string {
	return configScheme + seconds + ":" + hex.EncodeToString(configMAC(c, "ask\x00"+seconds))
}

// proven answers who proves to know the proxy's secret at MinIO with what tell returns, as
// JSON. That must hold no secret.
func (r *running) proven(tell func(*config.Config) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := r.config.Load()
		proof := req.Header.Get("Authorization")
		seconds, _, _ := strings.Cut(strings.TrimPrefix(proof, configScheme), ":")
		at, err := strconv.ParseInt(seconds, 10, 64)
		old := time.Since(time.Unix(at, 0)).Abs()
		if err != nil || old > configSkew || !hmac.Equal([]byte(proof), []byte(configProof(c, seconds))) {
			http.Error(w, "this is told to who proves to know upstream.credentials: bucketseal config diff, bucketseal doctor", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(tell(c))
	})
}

// AskConfig asks the server at address, which is its metrics.address, for the configuration
// in force. c has the same upstream.credentials. ErrOtherCredential if it has not.
func AskConfig(ctx context.Context, address string, c *config.Config) (values []config.Value, err error) {
	return values, ask(ctx, address, configPath, c, &values)
}

// AskFindings asks the server at address for what its own doctor has found last; nil if it
// has not looked yet. ErrOtherCredential.
func AskFindings(ctx context.Context, address string, c *config.Config) (report *doctor.Report, err error) {
	return report, ask(ctx, address, findingsPath, c, &report)
}

func ask(ctx context.Context, address, path string, c *config.Config, into any) error {
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port) // a server that listens everywhere listens here
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", configProof(c, strconv.FormatInt(time.Now().Unix(), 10)))
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden:
		return fmt.Errorf("%s: %w", address, ErrOtherCredential)
	default:
		return fmt.Errorf("%s answers %s: is it metrics.address of a bucketseal server of this version?", address, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxConfigPage)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}
