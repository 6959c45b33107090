package main

import (
	"net"
	"os"
	"strings"
	"time"
)

// kindNeeds says what the kind driver, whose clusters are real, needs on this host.
func kindNeeds() string {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	var docker string
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		if c, err := net.DialTimeout("unix", path, time.Second); err != nil {
			docker = "a Docker engine (none answers at " + path + ")"
		} else {
			c.Close()
			docker = "a Docker engine (one answers at " + path + ")"
		}
	} else {
		docker = "a Docker engine (DOCKER_HOST is " + host + ")"
	}
	return "These data planes are models. Real clusters come with --driver kind; it needs " + docker + " and a bundle (Linkerd comes with `meshproof bundle pull`, or from files with `meshproof bundle add`): meshproof doctor examines this host."
}
