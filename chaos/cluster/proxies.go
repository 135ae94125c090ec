package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// proxyDriveMiB is the size of a proxy's drive, which has its audit log.
const proxyDriveMiB = 256

const proxyConfig = `address: %[1]s
upstream:
  endpoint: %[2]s
  credentials: {access_key: %[3]s, secret_key: %[4]s}
credentials:
  - {access_key: %[5]s, secret_key: %[6]s}
access: {key_admins: [%[5]s]}
trusted_proxies: [%[7]s]
customer_keys_over_http: true
limits: {%[14]s}
metrics: {address: "%[8]s"}
doctor: {interval: 0s}
log: {level: %[9]s}
kms:
  remote:
    endpoints: [%[10]s]
    api_key: %[11]s
    ca: %[12]s
%[13]s`

// impatience is how long proxies wait where there are faults: less than others would.
const impatience = "drain: 2s, shutdown: 10s, upstream_header: 20s, stall: 20s"

// startProxies starts the proxies and the balancer.
func (c *Cluster) startProxies(ctx, live context.Context) error {
	for i := range c.size(proxies, fewProxies) {
		s, err := c.server(live, fmt.Sprintf("proxy-%d", i+1), proxyDriveMiB)
		if err != nil {
			return err
		}
		c.Proxies = append(c.Proxies, s)
		if err := c.proxy(s, i); err != nil {
			return err
		}
		s.Start()
	}
	for _, s := range c.Proxies {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return c.startBalancer(ctx, live)
}

// audits are the proxies' audit settings: one has no audit log, since one with a file hands over to nobody; one
// answers nothing before its line is durable.
var audits = [proxies]string{
	"", "audit: {required: true, file: {path: %s, max_size: 32MiB, keep: 2}}\n", "audit: {file: {path: %s, max_size: 32MiB, keep: 2}}\n",
}

// levels are how much they say.
var levels = [proxies]string{"info", "info", "debug"}

// smallObjects are what a small cluster's proxies read whole.
const smallObjects = "small_object: {size: 64KiB}\n"

func (c *Cluster) proxy(s *Server, number int) error {
	more, limits := "", impatience
	if c.Load {
		limits = c.Room
	}
	if c.Small {
		number, more = proxies-1-number, smallObjects // the ones that say most
	}
	upstream, err := c.front(s.Name, c.MinIOs...)
	if err != nil {
		return err
	}
	var keys []string
	for _, k := range c.KeyServers {
		f, err := c.front(s.Name, k)
		if err != nil {
			return err
		}
		keys = append(keys, "https://"+f.Address())
	}
	metrics, err := c.address(s.Name)
	if err != nil {
		return err
	}
	balancer, err := c.net.host("front")
	if err != nil {
		return err
	}
	s.Metrics = "http://" + metrics + "/metrics"
	file := filepath.Join(c.Dir, s.Name+".yml")
	config := fmt.Sprintf(proxyConfig, s.Address, c.toMinIO()+upstream.Address()+c.trust(), serviceUser, c.secrets.service, Client, c.secrets.client, balancer, metrics,
		levels[number], strings.Join(keys, ", "), c.secrets.proxyKey, filepath.Join(c.Dir, "ca.pem"),
		strings.ReplaceAll(audits[number], "%s", filepath.Join(s.Drive, "audit.log"))+more, limits)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	s.Config = file
	s.ready = get("http://" + s.Address + "/minio/health/ready")
	s.Clock = filepath.Join(c.Dir, s.Name+".clock")
	s.command = func() *exec.Cmd {
		cmd := c.net.command(s.Name, c.Bucketseal, "server", "--config", file)
		cmd.Env = environment("CHAOS_CLOCK=" + s.Clock)
		return cmd
	}
	return nil
}

const balancerConfig = `global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 1m
    timeout server 1m
    timeout check 1s
    option redispatch
    retries 2
frontend s3
    bind %s
    option forwardfor
    default_backend bucketseal
backend bucketseal
    balance roundrobin
    option httpchk GET /minio/health/ready
    default-server check inter 500ms fall 2 rise 1
`

// startBalancer has haproxy before the proxies, each behind a link; or links alone.
func (c *Cluster) startBalancer(ctx, live context.Context) error {
	if c.Load {
		c.entry = c.Proxies[0].Address
		return nil
	}
	if c.HAProxy == "" {
		f, err := c.front("balancer", c.Proxies...)
		if err == nil {
			c.entry = f.Address()
		}
		return err
	}
	b, err := c.server(live, "balancer", 0)
	if err != nil {
		return err
	}
	c.Balancer, c.entry = b, b.Address
	config := fmt.Sprintf(balancerConfig, b.Address)
	for _, s := range c.Proxies {
		f, err := c.front(b.Name, s)
		if err != nil {
			return err
		}
		config += "    server " + s.Name + " " + f.Address() + "\n"
	}
	file := filepath.Join(c.Dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	b.ready = get("http://" + b.Address + "/minio/health/ready")
	b.command = func() *exec.Cmd {
		cmd := c.net.command(b.Name, c.HAProxy, "-db", "-f", file)
		cmd.Env = environment()
		return cmd
	}
	b.Start()
	return b.WaitReady(ctx)
}

// RunOffline runs one of the binary's commands without a server, with a text on its standard input.
func (c *Cluster) RunOffline(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Bucketseal, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = environment("SSL_CERT_FILE=" + filepath.Join(c.Dir, "ca.pem"))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("bucketseal %s: %w: %s", strings.Join(args, " "), err, tail(said.String(), 2000))
	}
	return string(out), nil
}

// RunCommand runs one of the binary's commands with the settings of a proxy, as on its machine.
func (c *Cluster) RunCommand(ctx context.Context, s *Server, env []string, args ...string) (string, error) {
	where := c.net.command(s.Name, c.Bucketseal, append(args, "--config", s.Config)...)
	cmd := exec.CommandContext(ctx, where.Path, where.Args[1:]...)
	cmd.Env = environment(env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("bucketseal %s: %w: %s", strings.Join(args, " "), err, tail(string(out), 1000))
	}
	return string(out), nil
}

// Measured is RunCommand that returns how much memory, in bytes, the command had at most.
func (c *Cluster) Measured(ctx context.Context, s *Server, args ...string) (out string, peak int64, err error) {
	where := c.net.command(s.Name, c.Bucketseal, append(args, "--config", s.Config)...)
	cmd := exec.CommandContext(ctx, where.Path, where.Args[1:]...)
	cmd.Env = environment()
	said, err := cmd.CombinedOutput()
	if err != nil {
		return string(said), 0, fmt.Errorf("bucketseal %s: %w: %s", strings.Join(args, " "), err, tail(string(said), 1000))
	}
	if used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = used.Maxrss << 10
	}
	return string(said), peak, nil
}

func tail(s string, most int) string {
	return s[max(0, len(s)-most):]
}

// SetClock moves the clock of a server whose program was built for that.
func (c *Cluster) SetClock(s *Server, seconds int64) error {
	return os.WriteFile(s.Clock, []byte(strconv.FormatInt(seconds, 10)), 0o600)
}
