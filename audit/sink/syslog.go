package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Writer returns a sink that writes lines to w, which is not closed.
func Writer(name string, w io.Writer) *Async {
	return newAsync(name, func(lines []byte, _ time.Duration) error {
		_, err := w.Write(lines)
		return err
	}, func() error { return nil })
}

// SyslogOptions are settings of a syslog server.
type SyslogOptions struct {
	// Address is unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514.
	Address string
	// TLS is the configuration for tls; nil for the system's authorities.
	TLS *tls.Config
	// Host and App name this machine and program; "" for the machine's name and bucketseal.
	Host, App string
}

// ParseSyslog checks an address and returns its network and what is dialled.
func ParseSyslog(address string) (network, at string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", fmt.Errorf("%q is no URL", address)
	}
	ports := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"}
	port, known := ports[u.Scheme]
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "unix", u.Path, nil
	case !known || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil:
		return "", "", fmt.Errorf("%q is not of the form unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514", address)
	case u.Port() != "":
		port = u.Port()
	}
	return u.Scheme, net.JoinHostPort(u.Hostname(), port), nil
}

// syslogPriority is facility 13 (log audit), severity 6 (informational).
const syslogPriority = 13*8 + 6

// syslog speaks RFC 5424, over streams with the length before each message (RFC 5425 and
// 6587). It is used by one goroutine.
type syslog struct {
	o           SyslogOptions
	network, at string
	conn        net.Conn
	stream      bool
	buffer      []byte
}

// Syslog returns a sink that sends each line as a message. What was sent on a connection
// that breaks may be lost: the protocol has no answers.
func Syslog(o SyslogOptions) (*Async, error) {
	network, at, err := ParseSyslog(o.Address)
	if err != nil {
		return nil, err
	}
	if o.Host == "" {
		if o.Host, err = os.Hostname(); err != nil || o.Host == "" {
			o.Host = "-"
		}
	}
	if o.App == "" {
		o.App = "bucketseal"
	}
	s := &syslog{o: o, network: network, at: at}
	return newAsync("syslog", s.write, s.close), nil
}

func (s *syslog) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

func (s *syslog) dial(patience time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var d net.Dialer
	switch s.network {
	case "unix":
		s.stream = false
		if s.conn, err = d.DialContext(ctx, "unixgram", s.at); err != nil {
			s.stream = true
			s.conn, err = d.DialContext(ctx, "unix", s.at)
		}
	case "tls":
		s.stream = true
		s.conn, err = (&tls.Dialer{NetDialer: &d, Config: s.o.TLS}).DialContext(ctx, "tcp", s.at)
	default:
		s.stream = s.network == "tcp"
		s.conn, err = d.DialContext(ctx, s.network, s.at)
	}
	if err != nil {
		s.conn = nil
	}
	return err
}

// write sends lines. After an error some may have come, which are sent again.
func (s *syslog) write(lines []byte, patience time.Duration) error {
	if s.conn == nil {
		if err := s.dial(patience); err != nil {
			return err
		}
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	for line := range bytes.Lines(lines) {
		if err := s.send(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			_ = s.conn.Close()
			s.conn = nil
			return err
		}
	}
	return nil
}

func (s *syslog) send(line []byte) error {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	message := append(s.buffer[:0], "<"+strconv.Itoa(syslogPriority)+">1 "+now+" "+s.o.Host+" "+s.o.App+" "+strconv.Itoa(os.Getpid())+" audit - "...)
	message = append(message, line...)
	s.buffer = message
	if s.stream {
		if _, err := io.WriteString(s.conn, strconv.Itoa(len(message))+" "); err != nil {
			return err
		}
	}
	_, err := s.conn.Write(message)
	return err
}
