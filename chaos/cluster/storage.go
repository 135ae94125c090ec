package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startStorage starts the MinIOs and makes the users.
func (c *Cluster) startStorage(ctx, live context.Context) error {
	var endpoints []string
	for i := range c.storages() {
		s, err := c.server(live, fmt.Sprintf("minio-%d", i+1), c.DriveMiB)
		if err != nil {
			return err
		}
		c.MinIOs = append(c.MinIOs, s)
		switch {
		case c.OneMinIO: // one alone takes no address
			for drive := range minios {
				endpoints = append(endpoints, filepath.Join(s.Drive, fmt.Sprintf("data-%d", drive+1)))
			}
		case c.Small || c.Load:
			endpoints = append(endpoints, filepath.Join(s.Drive, "data"))
		default:
			endpoints = append(endpoints, c.toMinIO()+s.Address+filepath.Join(s.Drive, "data"))
		}
	}
	for _, s := range c.MinIOs {
		folders := []string{filepath.Join(s.Drive, "data")}
		if c.OneMinIO {
			folders = endpoints
		}
		for _, folder := range folders {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return err
			}
		}
		s.Clock = filepath.Join(c.Dir, s.Name+".clock")
		s.ready = get(c.toMinIO() + s.Address + "/minio/health/cluster")
		arguments := []string{"server", "--quiet", "--address", s.Address}
		if c.secure() {
			folder, err := c.certifyMinIO(s)
			if err != nil {
				return err
			}
			arguments = append(arguments, "--certs-dir", folder)
		}
		s.command = func() *exec.Cmd {
			cmd := c.net.command(s.Name, c.MinIO, append(arguments, endpoints...)...)
			cmd.Env = environment("MINIO_ROOT_USER="+rootUser, "MINIO_ROOT_PASSWORD="+c.secrets.root, "MINIO_BROWSER=off",
				"MINIO_UPDATE=off", "MINIO_CI_CD=on", "MINIO_API_REQUESTS_MAX=512", "CHAOS_CLOCK="+s.Clock)
			if c.Load { // each slow reader of a large object holds a request
				cmd.Env = append(cmd.Env, "MINIO_API_REQUESTS_MAX=10000")
			}
			if c.Bare {
				cmd.Env = append(cmd.Env, "MINIO_KMS_SECRET_KEY=bucketseal-default:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=")
			}
			return cmd
		}
		s.Start()
	}
	c.running.Go(func() { c.emptyTrash(live) })
	for _, s := range c.MinIOs {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	if c.secure() {
		if err := copyFiles(map[string]string{filepath.Join(c.Dir, "ca.pem"): filepath.Join(c.Dir, "mc", "certs", "CAs", "ca.pem")}); err != nil {
			return err
		}
	}
	var err error
	if c.storage, err = c.front("storage", c.MinIOs...); err != nil {
		return err
	}
	return c.makeUsers(ctx)
}

// environment is small and clean: nothing of the caller's AWS or MinIO settings gets in.
func environment(extra ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin", "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8"}, extra...)
}

// asking asks whether servers are ready, not whether their certificates are good. A connection that stalls is not
// used again.
var asking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above

// secure says that MinIO is reached by TLS: over a network proxies learn no secrets otherwise, which sessions need. A
// load is measured without, as clients alone at MinIO are.
func (c *Cluster) secure() bool { return c.World == Namespaces && !c.Bare && !c.Load }

func (c *Cluster) toMinIO() string {
	if c.secure() {
		return "https://"
	}
	return "http://"
}

// trust is what follows a proxy's upstream.endpoint, so that it trusts MinIO's certificate.
func (c *Cluster) trust() string {
	if c.secure() {
		return "\n  ca: " + filepath.Join(c.Dir, "ca.pem")
	}
	return ""
}

// certifyMinIO makes the folder of a MinIO's certificates.
func (c *Cluster) certifyMinIO(s *Server) (folder string, err error) {
	if err := c.Certify(s, time.Now().Add(-240*time.Hour), time.Now().Add(2400*time.Hour)); err != nil {
		return "", err
	}
	base := filepath.Join(c.Dir, s.Name)
	return base + "-certificates", copyFiles(map[string]string{
		base + ".crt": filepath.Join(base+"-certificates", "public.crt"), base + ".key": filepath.Join(base+"-certificates", "private.key"),
		filepath.Join(c.Dir, "ca.pem"): filepath.Join(base+"-certificates", "CAs", "ca.pem"),
	})
}

// copyFiles copies small files into folders that it makes.
func copyFiles(files map[string]string) error {
	for from, to := range files {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := asking.Do(request)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		return nil
	}
}

// Policies of the two users, as compose/ has them.
const (
	servicePolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"arn:aws:s3:::*"},
{"Effect":"Allow","Action":["s3:CreateBucket","s3:PutBucketVersioning"],"Resource":"arn:aws:s3:::bucketseal-system"},
{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::bucketseal-system/*"},
{"Effect":"Allow","Action":["s3:ListBucket","s3:GetBucketPolicy"],"Resource":"arn:aws:s3:::*"},
{"Effect":"Allow","Action":["s3:GetObject","s3:ListMultipartUploadParts"],"Resource":"arn:aws:s3:::*/*"}]}`
	clientPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::*"},
{"Effect":"Deny","Action":"s3:*","Resource":["arn:aws:s3:::bucketseal-system","arn:aws:s3:::bucketseal-system/*"]},
{"Effect":"Allow","Action":["kms:CreateKey","kms:ListKeys","kms:KeyStatus"],"Resource":"arn:minio:kms:::*"}]}`
)

func (c *Cluster) makeUsers(ctx context.Context) error {
	for _, u := range []struct{ name, secret, policy string }{
		{serviceUser, c.secrets.service, servicePolicy}, {Client, c.secrets.client, clientPolicy},
	} {
		file := filepath.Join(c.Dir, u.name+".json")
		if err := os.WriteFile(file, []byte(u.policy), 0o600); err != nil {
			return err
		}
		for _, step := range []struct {
			input string
			args  []string
		}{
			{"", []string{"admin", "policy", "create", "storage", u.name, file}},
			{u.name + "\n" + u.secret + "\n", []string{"admin", "user", "add", "storage"}},
			{"", []string{"admin", "policy", "attach", "storage", u.name, "--user", u.name}},
		} {
			if err := c.retryMC(ctx, step.input, step.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// retryMC runs mc for some time until it succeeds: MinIO is alive before it knows its users.
func (c *Cluster) retryMC(ctx context.Context, input string, args ...string) error {
	var err error
	for range 30 {
		if _, err = c.RunMC(ctx, input, args...); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
	return err
}

// RunMC runs mc, to which "storage" is MinIO itself as its root and "front" the first way in as the client, and
// returns what it printed.
func (c *Cluster) RunMC(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.MC, append([]string{"--quiet"}, args...)...)
	way := c.Storage()
	cmd.Env = environment("MC_CONFIG_DIR="+filepath.Join(c.Dir, "mc"),
		"MC_HOST_storage="+strings.Replace(way.URL, "://", "://"+way.AccessKey+":"+way.SecretKey+"@", 1))
	if c.entry != "" {
		front := c.Ways()[0]
		cmd.Env = append(cmd.Env, "MC_HOST_front=http://"+front.AccessKey+":"+front.SecretKey+"@"+strings.TrimPrefix(front.URL, "http://"))
	}
	cmd.Stdin = strings.NewReader(input)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("mc %s: %w: %s%s", strings.Join(args, " "), err, tail(string(out), 2000), tail(said.String(), 2000))
	}
	return string(out), nil
}

// ReplaceDrive takes a MinIO whose drive is empty into the cluster again: the drive is emptied while it is down.
func (c *Cluster) ReplaceDrive(s *Server) error {
	entries, err := os.ReadDir(s.Drive)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.Drive, e.Name())); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(s.Drive, "data"), 0o700)
}

// HealStorage waits until MinIO has filled all drives, and has it look at every object once more: a MinIO that was
// killed leaves drives that disagree on what was being written (docs/reliability.md).
func (c *Cluster) HealStorage(ctx context.Context) error {
	drives := c.storages()
	if c.OneMinIO {
		drives = minios
	}
	for {
		out, err := c.RunMC(ctx, "", "admin", "heal", "--json", "storage")
		if err == nil && whole(out, drives) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("MinIO's drives are not healed: %w: %s", ctx.Err(), tail(out, 2000))
		case <-time.After(500 * time.Millisecond):
		}
	}
	var err error
	for range 10 {
		if _, err = c.RunMC(ctx, "", "admin", "heal", "--recursive", "--force", "storage"); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Second) // another fault may hinder it
	}
	return err
}

// whole tells of the answer of "mc admin heal --json" whether all drives are there, and none is being filled.
func whole(answer string, drives int) bool {
	var said struct {
		HealInfo struct {
			Sets []struct {
				Disks []struct {
					State    string
					Healing  bool
					HealInfo *struct{ Finished bool } `json:"heal_info"`
				}
			}
		}
	}
	if json.Unmarshal([]byte(answer), &said) != nil {
		return false
	}
	good := 0
	for _, set := range said.HealInfo.Sets {
		for _, d := range set.Disks {
			if d.State == "ok" && !d.Healing && (d.HealInfo == nil || d.HealInfo.Finished) {
				good++
			}
		}
	}
	return good == drives
}
