//! The kinds of machines of the plant, and what each of them measures.

/// One thing that a machine measures.
#[derive(Debug, PartialEq)]
pub(crate) struct Metric {
    /// The last level of its topic.
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Where it settles while the machine idles, and at full load.
    pub(crate) idle: f64,
    pub(crate) full: f64,
    /// What a fault adds when it is fully grown.
    pub(crate) fault: f64,
    /// The standard deviation of a single reading.
    pub(crate) noise: f64,
    /// How many seconds it takes to follow the load most of the way.
    pub(crate) lag_seconds: f64,
    /// From here on somebody should look, and from here on somebody must.
    pub(crate) warning: f64,
    pub(crate) alarm: f64,
}

/// A kind of machine. Its first metric is the one that stands for it in an overview.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) metrics: &'static [Metric],
}

/// A part of the plant, with the kinds of machines that stand there.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) kinds: &'static [&'static Kind],
}

/// The plant, in the order of its work.
pub(crate) const AREAS: &[Area] = &[
    Area { name: "stamping", kinds: &[&PRESS, &CONVEYOR, &ROBOT] },
    Area { name: "welding", kinds: &[&WELDER, &ROBOT, &CHILLER] },
    Area { name: "painting", kinds: &[&OVEN, &PUMP, &FAN] },
    Area { name: "assembly", kinds: &[&ROBOT, &CONVEYOR, &PRESS] },
    Area { name: "packaging", kinds: &[&CONVEYOR, &ROBOT, &FAN] },
    Area { name: "utilities", kinds: &[&COMPRESSOR, &PUMP, &BOILER, &CHILLER] },
];

const fn metric(
    name: &'static str,
    unit: &'static str,
    (idle, full): (f64, f64),
    (fault, noise, lag_seconds): (f64, f64, f64),
    (warning, alarm): (f64, f64),
) -> Metric {
    Metric { name, unit, idle, full, fault, noise, lag_seconds, warning, alarm }
}

static PRESS: Kind = Kind {
    name: "press",
    metrics: &[
        metric("temperature", "°C", (38.0, 61.0), (32.0, 0.25, 40.0), (70.0, 84.0)),
        metric("vibration", "mm/s", (1.1, 3.2), (6.4, 0.12, 3.0), (4.5, 7.1)),
        metric("pressure", "bar", (142.0, 204.0), (0.0, 1.4, 2.0), (225.0, 240.0)),
        metric("power", "kW", (7.0, 46.0), (6.0, 0.8, 2.0), (60.0, 70.0)),
    ],
};

static CONVEYOR: Kind = Kind {
    name: "conveyor",
    metrics: &[
        metric("speed", "m/s", (0.35, 1.25), (0.0, 0.01, 2.0), (1.6, 1.8)),
        metric("temperature", "°C", (28.0, 44.0), (31.0, 0.2, 50.0), (55.0, 68.0)),
        metric("vibration", "mm/s", (0.5, 2.0), (5.6, 0.08, 3.0), (3.5, 5.6)),
        metric("power", "kW", (0.5, 3.6), (1.2, 0.06, 2.0), (6.0, 7.5)),
    ],
};

static ROBOT: Kind = Kind {
    name: "robot",
    metrics: &[
        metric("torque", "N·m", (22.0, 148.0), (24.0, 4.0, 1.0), (205.0, 230.0)),
        metric("temperature", "°C", (30.0, 52.0), (30.0, 0.2, 45.0), (62.0, 74.0)),
        metric("vibration", "mm/s", (0.4, 1.7), (4.8, 0.07, 3.0), (2.8, 4.5)),
        metric("power", "kW", (0.7, 5.8), (0.8, 0.1, 2.0), (8.5, 10.0)),
    ],
};

static WELDER: Kind = Kind {
    name: "welder",
    metrics: &[
        metric("current", "A", (24.0, 236.0), (0.0, 3.0, 1.0), (285.0, 310.0)),
        metric("temperature", "°C", (42.0, 88.0), (78.0, 0.5, 25.0), (102.0, 122.0)),
        metric("pressure", "bar", (4.2, 5.6), (0.0, 0.05, 3.0), (7.0, 8.0)),
        metric("power", "kW", (1.4, 24.0), (4.0, 0.4, 1.0), (34.0, 40.0)),
    ],
};

static OVEN: Kind = Kind {
    name: "oven",
    metrics: &[
        metric("temperature", "°C", (162.0, 194.0), (56.0, 0.4, 60.0), (204.0, 221.0)),
        metric("humidity", "%", (11.0, 24.0), (9.0, 0.3, 30.0), (36.0, 45.0)),
        metric("airflow", "m³/s", (2.1, 5.2), (0.0, 0.05, 4.0), (6.5, 7.5)),
        metric("power", "kW", (26.0, 82.0), (12.0, 0.9, 6.0), (105.0, 120.0)),
    ],
};

static PUMP: Kind = Kind {
    name: "pump",
    metrics: &[
        metric("pressure", "bar", (2.3, 6.0), (0.0, 0.04, 3.0), (7.5, 8.5)),
        metric("temperature", "°C", (32.0, 57.0), (30.0, 0.2, 40.0), (67.0, 79.0)),
        metric("vibration", "mm/s", (0.7, 2.5), (6.2, 0.09, 3.0), (4.5, 7.1)),
        metric("power", "kW", (1.4, 10.8), (1.6, 0.12, 2.0), (15.0, 18.0)),
    ],
};

static FAN: Kind = Kind {
    name: "fan",
    metrics: &[
        metric("airflow", "m³/s", (1.2, 4.8), (0.0, 0.04, 4.0), (6.0, 7.0)),
        metric("vibration", "mm/s", (0.6, 2.2), (6.8, 0.08, 3.0), (4.5, 7.1)),
        metric("temperature", "°C", (27.0, 45.0), (28.0, 0.2, 40.0), (56.0, 67.0)),
        metric("power", "kW", (0.6, 5.4), (0.9, 0.08, 2.0), (8.0, 9.5)),
    ],
};

static COMPRESSOR: Kind = Kind {
    name: "compressor",
    metrics: &[
        metric("pressure", "bar", (6.3, 8.2), (0.0, 0.04, 4.0), (9.5, 10.5)),
        metric("temperature", "°C", (50.0, 83.0), (35.0, 0.3, 45.0), (95.0, 109.0)),
        metric("vibration", "mm/s", (1.3, 3.7), (7.2, 0.12, 3.0), (5.6, 8.4)),
        metric("power", "kW", (13.0, 54.0), (7.0, 0.7, 2.0), (70.0, 80.0)),
    ],
};

static BOILER: Kind = Kind {
    name: "boiler",
    metrics: &[
        metric("temperature", "°C", (122.0, 171.0), (68.0, 0.4, 60.0), (184.0, 197.0)),
        metric("pressure", "bar", (4.1, 9.2), (2.6, 0.05, 20.0), (10.4, 11.4)),
        metric("flow", "m³/h", (1.8, 7.4), (0.0, 0.06, 5.0), (9.5, 11.0)),
        metric("power", "kW", (38.0, 290.0), (20.0, 3.0, 8.0), (350.0, 400.0)),
    ],
};

static CHILLER: Kind = Kind {
    name: "chiller",
    metrics: &[
        metric("temperature", "°C", (5.2, 9.8), (9.0, 0.08, 30.0), (12.0, 16.5)),
        metric("pressure", "bar", (8.2, 13.6), (2.2, 0.07, 6.0), (15.2, 16.6)),
        metric("vibration", "mm/s", (0.6, 2.0), (5.0, 0.07, 3.0), (3.5, 5.6)),
        metric("power", "kW", (4.5, 31.0), (3.0, 0.3, 2.0), (42.0, 48.0)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy machine at full load is below every warning, and a full-grown fault reaches an alarm.
    #[test]
    fn limits_tell_health_from_faults() {
        for kind in AREAS.iter().flat_map(|area| area.kinds) {
            for metric in kind.metrics {
                let healthy = metric.idle.max(metric.full) + 4.0 * metric.noise;
                assert!(healthy < metric.warning, "{} {}", kind.name, metric.name);
                assert!(metric.warning < metric.alarm, "{} {}", kind.name, metric.name);
            }
            let at_half_load = |metric: &Metric| (metric.idle + metric.full) / 2.0 + metric.fault;
            let alarms = kind.metrics.iter().filter(|metric| at_half_load(metric) > metric.alarm).count();
            assert!(alarms > 0, "no fault of a {} raises an alarm", kind.name);
        }
    }
}
