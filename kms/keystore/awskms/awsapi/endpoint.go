package awsapi

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

var (
	errEndpoint = errors.New("endpoint is not a host, host:port or http(s) URL without path")
	errReadable = errors.New("over http, keys and credentials could be read on the way: use https, or a host of this machine")
)

// ParseEndpoint turns what a configuration calls an endpoint into a base URL:
// a host without scheme is reached by https, and only this machine by http. Empty
// stays empty: AWS's own endpoint of the region.
func ParseEndpoint(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", nil
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Path != "" && u.Path != "/") || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("%q: %w", s, errEndpoint)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("%q: %w", s, errReadable)
	}
	if strings.HasSuffix(strings.ToLower(u.Hostname()), ".amazonaws") {
		return "", fmt.Errorf("%q: %w: AWS host names end in .amazonaws.com", s, errEndpoint)
	}
	u.Path = ""
	return u.String(), nil
}

// KMSEndpoint says where AWS KMS is, given the endpoint of another AWS service
// as ParseEndpoint returned it. What is set explicitly wins. AWS's own hosts
// serve one service each, so KMS is at its own place there (empty: the SDK
// knows it); any other host is taken for one that serves both, so that
// credentials for a private installation never go to AWS.
func KMSEndpoint(explicit, other string) (string, error) {
	if strings.TrimSpace(explicit) != "" {
		return ParseEndpoint(explicit)
	}
	u, err := url.Parse(other)
	if err != nil {
		return "", fmt.Errorf("%q: %w", other, errEndpoint)
	}
	host := strings.ToLower(u.Hostname())
	for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if strings.HasSuffix(host, suffix) {
			return "", nil
		}
	}
	return other, nil
}
