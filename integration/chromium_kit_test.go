package integration

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tab is a page of a headless Chromium, steered by its DevTools protocol over a pipe.
type tab struct {
	t       *testing.T
	in      *os.File
	session string

	mu      sync.Mutex
	last    int
	waiting map[int]chan devtoolsMessage
	said    []string // errors and warnings of the browser
}

type devtoolsMessage struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// openTab starts a browser; the test is skipped where there is none.
func openTab(t *testing.T) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &tab{t: t, in: in, waiting: make(map[int]chan devtoolsMessage)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(out)
	}()
	t.Cleanup(func() {
		_ = b.send(devtoolsMessage{ID: 1 << 30, Method: "Browser.close"})
		ended := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		ended.Stop()
		in.Close()
		<-read
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Log", "Runtime", "DOM", "Accessibility"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

func (b *tab) read(out *os.File) {
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m devtoolsMessage
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if m.Method == "Log.entryAdded" || m.Method == "Runtime.exceptionThrown" {
			b.said = append(b.said, string(m.Params))
		}
		waits := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if waits != nil {
			waits <- m
		}
	}
}

func (b *tab) send(m devtoolsMessage) error {
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	return err
}

// call calls a method and decodes its result.
func (b *tab) call(method string, params, result any) {
	b.t.Helper()
	m := devtoolsMessage{Session: b.session, Method: method}
	if params != nil {
		m.Params, _ = json.Marshal(params)
	}
	answer := make(chan devtoolsMessage, 1)
	b.mu.Lock()
	b.last++
	m.ID = b.last
	b.waiting[m.ID] = answer
	b.mu.Unlock()
	if err := b.send(m); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: no answer", method)
	}
}

// eval returns what an expression is, as text.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result struct{ Value any }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": "String(" + expression + ")"}, &r)
	text, _ := r.Result.Value.(string)
	return text
}

// until waits until an expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); b.eval(expression) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s does not become true; the page is %s", expression, b.eval("document.body.innerText"))
		}
	}
}

// open opens a page, and returns its text once it is complete.
func (b *tab) open(url string) string {
	b.t.Helper()
	b.eval("window.old = true")
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until("window.old !== true && document.readyState === 'complete'")
	return b.eval("document.body.innerText")
}

// press presses a key, and write types a text where the focus is.
func (b *tab) press(key string) {
	b.t.Helper()
	down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13, "Space": 32}[key]}
	switch key {
	case "Enter":
		down["text"] = "\r"
	case "Space":
		down["text"], down["key"] = " ", " "
	}
	b.call("Input.dispatchKeyEvent", down, nil)
	down["type"] = "keyUp"
	delete(down, "text")
	b.call("Input.dispatchKeyEvent", down, nil)
}

func (b *tab) write(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// tabTo presses Tab until the focus is on what a selector names.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 60 {
		if b.eval("document.activeElement.matches("+quoted(selector)+")") == "true" {
			return
		}
		b.press("Tab")
	}
	b.t.Fatalf("the keyboard does not reach %s", selector)
}

func quoted(text string) string {
	q, _ := json.Marshal(text)
	return string(q)
}

// picture is a screenshot, in light or dark.
func (b *tab) picture(scheme string, width, height int) []byte {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "optimizeForSpeed": false}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// fewerColours makes a picture smaller: a page has few colours that matter.
func fewerColours(t *testing.T, data []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[color.Color]int)
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			count[full.At(x, y)]++
		}
	}
	var all color.Palette
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.Color) int { return count[b] - count[a] })
	few, nearest := image.NewPaletted(full.Bounds(), all[:min(256, len(all))]), make(map[color.Color]uint8)
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			c := full.At(x, y)
			at, known := nearest[c]
			if !known {
				at = uint8(few.Palette.Index(c))
				nearest[c] = at
			}
			few.SetColorIndex(x, y, at)
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// accessible checks what screen readers are told of the page: it has its landmarks, its
// controls have names, and its tables headers.
func (b *tab) accessible(where string) {
	b.t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored bool
			Role    struct{ Value string }
			Name    struct{ Value any }
		}
	}
	b.call("Accessibility.getFullAXTree", nil, &tree)
	roles := make(map[string]int)
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		roles[n.Role.Value]++
		name, _ := n.Name.Value.(string)
		switch n.Role.Value {
		case "textbox", "button", "link", "radio", "combobox", "navigation", "meter", "RootWebArea", "heading", "region":
			if strings.TrimSpace(name) == "" {
				b.t.Errorf("%s: a %s has no name", where, n.Role.Value)
			}
		}
	}
	if roles["main"] != 1 || roles["banner"] != 1 || roles["table"] > 0 && roles["columnheader"] == 0 {
		b.t.Errorf("%s: landmarks %v", where, roles)
	}
	if n := b.eval("document.querySelectorAll('h1').length"); n != "1" {
		b.t.Errorf("%s: %s headings of the first rank", where, n)
	}
}

// complaints returns what the browser complained of since the last time.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}
